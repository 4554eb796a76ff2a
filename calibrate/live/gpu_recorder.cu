#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "calibrate/live/gpu_recorder.h"
#include "calibrate/live/prompt_runner.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda_step/host_pages.h"
#include "kernels/page_rank/page_rank_cuda.h"
#include "model/error.h"
#include "traces/parallel.h"
#include "traces/record_page_ranker.h"
#include "traces/record_plan.h"
#include "traces/trace_writer.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels::cuda;
using Clock = std::chrono::steady_clock;

constexpr int kRows = 64;  // tokens of one step

/// Scores and masses of one step's tokens, all recorded layers, on the device and on the host.
struct RankedRows {
  RankedRows(std::int64_t slots, std::int64_t entries)
      : scores(static_cast<std::size_t>(slots * entries)),
        mass(static_cast<std::size_t>(slots * entries)),
        host_scores(slots * entries * 4),
        host_mass(slots * entries * 4) {}
  DeviceBuffer<float> scores;  // [slots, rows, kv heads, max_pages]
  DeviceBuffer<float> mass;
  PinnedBytes host_scores;
  PinnedBytes host_mass;
  std::int64_t first = 0;  // position
  std::int64_t count = 0;
};

class Recorder {
 public:
  Recorder(const RecordPlan& plan, const RecordOptions& options, DType dtype, TraceWriter& writer, cudaStream_t stream)
      : plan_(plan),
        options_(options),
        writer_(writer),
        stream_(stream),
        threads_(options.num_threads > 0 ? options.num_threads
                                         : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()))),
        prompt_(plan.weights, dtype, plan.end, options.page_size, kRows, 1, stream),
        max_pages_(prompt_.state().max_pages),
        row_entries_(plan.weights.llm.num_kv_heads * max_pages_) {
    for (int i = 0; i < 2; ++i) {
      buffers_.push_back(
          std::make_unique<RankedRows>(static_cast<std::int64_t>(plan_.layers.size()), kRows * row_entries_));
    }
  }

  double run() {
    const Clock::time_point start = Clock::now();
    double prompt_s = 0;
    std::future<void> writing;
    std::size_t buffer = 0;
    for (std::int64_t position = 0; position < plan_.end;) {
      const bool records = position >= options_.first_position;
      const std::int64_t limit = records ? plan_.end : options_.first_position;
      const std::int64_t count = std::min<std::int64_t>(kRows, limit - position);
      const auto tokens =
          std::span(plan_.tokens.tokens).subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(count));
      if (!records) {
        prompt_.run(tokens, [](int, std::int64_t, std::int64_t) {});
      } else {
        RankedRows& rows = *buffers_[buffer];
        rank(tokens, rows);
        if (writing.valid()) writing.get();  // this step ran while the one before was sorted and written
        writing = std::async(std::launch::async, [this, &rows] { write(rows); });
        buffer = 1 - buffer;
      }
      position += count;
      report(position, start);
      if (position == options_.first_position) {
        RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
        prompt_s = std::chrono::duration<double>(Clock::now() - start).count();
      }
    }
    if (writing.valid()) writing.get();
    return prompt_s;
  }

 private:
  /// Runs the tokens and brings their scores and masses to the host.
  void rank(std::span<const std::int32_t> tokens, RankedRows& rows) {
    rows.first = prompt_.num_tokens();
    rows.count = static_cast<std::int64_t>(tokens.size());
    prompt_.run(tokens, [&](int layer, std::int64_t, std::int64_t) {
      const auto found = std::lower_bound(plan_.layers.begin(), plan_.layers.end(), layer);
      if (found == plan_.layers.end() || *found != layer) return;
      const std::int64_t at = (found - plan_.layers.begin()) * kRows * row_entries_;
      rank_pages({.cache = prompt_.state().kv_cache(layer),
                  .table = prompt_.state().page_table(),
                  .num_q_heads = plan_.weights.llm.num_q_heads,
                  .q = prompt_.executor().queries(),
                  .scores = rows.scores.data() + at,
                  .mass = rows.mass.data() + at},
                 scratch_, stream_);
    });
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(rows.host_scores.data(), rows.scores.data(), rows.scores.bytes(),
                                        cudaMemcpyDeviceToHost, stream_));
    RETROSIM_CUDA_CHECK(
        cudaMemcpyAsync(rows.host_mass.data(), rows.mass.data(), rows.mass.bytes(), cudaMemcpyDeviceToHost, stream_));
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
  }

  void write(RankedRows& rows) {
    const auto heads = static_cast<std::size_t>(plan_.weights.llm.num_kv_heads);
    const std::size_t slots = plan_.layers.size();
    const auto count = static_cast<std::size_t>(rows.count);
    ranks_.resize(count * slots * heads);  // keeps the lists' memory from step to step
    const auto* scores = reinterpret_cast<const float*>(rows.host_scores.data());
    const auto* mass = reinterpret_cast<const float*>(rows.host_mass.data());
    for_each_parallel(static_cast<int>(count), threads_, [&](int row) {
      const auto pages = static_cast<std::size_t>(plan_.header.num_pages(rows.first + row));
      for (std::size_t slot = 0; slot < slots; ++slot) {
        for (std::size_t head = 0; head < heads; ++head) {
          const std::size_t at =
              (slot * kRows + static_cast<std::size_t>(row)) * static_cast<std::size_t>(row_entries_) +
              head * static_cast<std::size_t>(max_pages_);
          order_pages({scores + at, pages}, {mass + at, pages}, options_.top_m,
                      ranks_[(static_cast<std::size_t>(row) * slots + slot) * heads + head]);
        }
      }
    });
    std::vector<StepRecord> records(count);
    for (std::size_t row = 0; row < count; ++row) {
      StepRecord& record = records[row];
      record.position = rows.first + static_cast<std::int64_t>(row);
      record.num_pages = plan_.header.num_pages(record.position);
      for (std::size_t i = 0; i < slots * heads; ++i) {
        const PageRanks& of_head = ranks_[row * slots * heads + i];
        record.heads.push_back({.pages = of_head.pages, .mass = of_head.mass, .rest = of_head.rest});
      }
    }
    writer_.add_steps(records);
  }

  void report(std::int64_t position, Clock::time_point start) const {
    if (!options_.progress) return;
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    options_.progress({.tokens_done = position,
                       .tokens_total = plan_.end,
                       .steps_recorded = std::max<std::int64_t>(0, position - options_.first_position),
                       .elapsed_s = elapsed,
                       .eta_s = elapsed * (1 / share_done(plan_.weights.llm, position, plan_.end) - 1)});
  }

  const RecordPlan& plan_;
  const RecordOptions& options_;
  TraceWriter& writer_;
  cudaStream_t stream_;
  int threads_;
  PromptRunner prompt_;
  std::int64_t max_pages_;
  std::int64_t row_entries_;  // [kv heads, max_pages]
  PageRankScratch scratch_;
  std::vector<std::unique_ptr<RankedRows>> buffers_;
  // [rows, slots, kv heads], of the step that is being written
  std::vector<PageRanks> ranks_;
};

}  // namespace

RecordResult record_trace_on_gpu(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                                 const RecordOptions& options, DType dtype, const std::filesystem::path& out) {
  if (!gpu_available()) throw InputError("", "GPU", "none", "a GPU of compute capability 8.0 or later");
  const RecordPlan plan = plan_recording(checkpoint, tokens_file, options);
  TraceWriter writer(out, plan.header);
  RecordResult result{.steps = plan.steps};
  try {
    cudaStream_t stream = nullptr;
    RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    Recorder recorder(plan, options, dtype, writer, stream);
    const Clock::time_point start = Clock::now();
    result.prompt_s = recorder.run();
    writer.close();
    result.recording_s = std::chrono::duration<double>(Clock::now() - start).count() - result.prompt_s;
    RETROSIM_CUDA_CHECK(cudaStreamDestroy(stream));
  } catch (...) {
    writer.abort();
    throw;
  }
  return result;
}

}  // namespace retrosim::gpu
