#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>

#include "calibrate/calibration_design.h"
#include "calibrate/calibration_samples.h"
#include "calibrate/gpu/calibration_run.h"
#include "calibrate/gpu/case_measurement.h"
#include "calibrate/gpu/device_info.h"
#include "calibrate/gpu/launch_measurement.h"
#include "calibrate/gpu/prefill_measurement.h"
#include "kernels/cuda/check.h"
#include "model/error.h"
#include "model/json_reader.h"

namespace retrosim::gpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kClockReadingEveryS = 2;
constexpr double kProgressEveryS = 10;
constexpr double kWarmUpS = 2;  // until the clocks have risen

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class CalibrationRun {
 public:
  CalibrationRun(const CalibrationOptions& options, const std::function<void(const std::string&)>& progress)
      : options_(options), progress_(progress), file_(options.out / "samples.jsonl") {
    if (!kernels::cuda::gpu_available()) throw InputError("", "GPU", "none", "a CUDA GPU of capability 8.0 or later");
    const std::string name = bundled_name();
    if (name.empty()) {
      throw InputError("", "GPU", provenance()["device"].get<std::string>(), "a GPU with a bundled spec: H100 or H200");
    }
    gpu_ = find_gpu_spec(name);
    std::error_code code;
    std::filesystem::create_directories(options.out, code);
    go_on();
    stream_out_.open(file_, std::ios::app);
    if (!stream_out_) throw InputError(file_.string(), "--out", options.out.string(), "a folder that can be written");
    RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    write_machine();
  }
  CalibrationRun(const CalibrationRun&) = delete;
  CalibrationRun& operator=(const CalibrationRun&) = delete;
  ~CalibrationRun() { cudaStreamDestroy(stream_); }

  CalibrationResult run() {
    warm_up(kWarmUpS, stream_);
    if (options_.first_case < kFirstAttentionCase) {
      if (!parts_.contains("kernel_launches")) write(measure_launches(stream_));
      if (!parts_.contains("copy_beside_read")) write(measure_links(stream_));
      if (!parts_.contains("chain outside the grid")) write(measure_prefill_attention(stream_));
    }
    for (int index = next_case_; seconds_since(start_) < options_.seconds; ++index) run_case(index);
    return result_;
  }

 private:
  /// Reads what an earlier run left; its last line may be cut off, and its last case incomplete: measured again under
  /// the same index, later samples count.
  void go_on() {
    next_case_ = options_.first_case;
    if (!std::filesystem::is_regular_file(file_)) return;
    const std::filesystem::path machine = options_.out / "machine.json";
    const nlohmann::json json = read_json_file(machine);
    const std::string before = JsonReader(json, machine.string()).string("gpu");
    if (before != gpu_.name) throw InputError(machine.string(), "gpu", before, gpu_.name);
    for (const GraphSample& sample : read_samples(file_)) {
      parts_.insert(sample.case_index < 0 && sample.part == "chain" ? "chain outside the grid" : sample.part);
      next_case_ = std::max(next_case_, sample.case_index + 1);
    }
    std::string text;
    std::getline(std::ifstream(file_, std::ios::binary), text, '\0');
    std::filesystem::resize_file(file_, text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
  }

  void write_machine() {
    nlohmann::json json = provenance();
    json["schema"] = "retrosim.calibration-machine/1";
    json["gpu"] = gpu_.name;
    json["seed"] = options_.seed;
    json["copy_bytes_per_s"] = copy_bandwidth(stream_);
    write_json(json, (options_.out / "machine.json").string());
  }

  void run_case(int index) {
    const CalibrationCase one = calibration_case(index, options_.seed, gpu_);
    try {
      write(measure_case(one, stream_));
      ++result_.cases;
    } catch (const kernels::cuda::CudaError& error) {
      if (error.code() != cudaErrorMemoryAllocation) throw;
      static_cast<void>(cudaGetLastError());
      leave_out(index, error.what());
    } catch (const InputError& error) {
      leave_out(index, error.what());
    }
    if (seconds_since(last_progress_) > kProgressEveryS) {
      last_progress_ = Clock::now();
      progress_("case " + std::to_string(index) + ", " + std::to_string(result_.samples) + " samples, " +
                std::to_string(static_cast<int>(seconds_since(start_))) + " s");
    }
  }

  void leave_out(int index, const std::string& why) {
    ++result_.refused;
    progress_("case " + std::to_string(index) + " left out: " + why);
  }

  void write(std::vector<GraphSample> samples) {
    if (seconds_since(last_reading_) > kClockReadingEveryS) {
      clocks_ = read_clocks();
      last_reading_ = Clock::now();
    }
    for (GraphSample& sample : samples) {
      sample.throttled = clocks_.throttled;
      result_.throttled += sample.throttled ? 1 : 0;
      ++result_.samples;
      stream_out_ << to_json_line(sample) << '\n';
    }
    stream_out_.flush();
    if (!stream_out_) throw InputError(file_.string(), "--out", options_.out.string(), "a file that can be written");
  }

  CalibrationOptions options_;
  std::function<void(const std::string&)> progress_;
  std::filesystem::path file_;
  GpuSpec gpu_;
  std::set<std::string> parts_;
  int next_case_ = 0;
  std::ofstream stream_out_;
  cudaStream_t stream_ = nullptr;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_reading_;
  Clock::time_point last_progress_ = Clock::now();
  Clocks clocks_;
  CalibrationResult result_;
};

}  // namespace

CalibrationResult run_calibration(const CalibrationOptions& options,
                                  const std::function<void(const std::string&)>& progress) {
  return CalibrationRun(options, progress).run();
}

}  // namespace retrosim::gpu
