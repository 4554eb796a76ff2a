#include "calibrate/fit_calibration.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>

#include "calibrate/calibration_grids.h"
#include "calibrate/calibration_samples.h"
#include "calibrate/latency_table_fit.h"
#include "calibrate/roofline_fit.h"
#include "model/error.h"
#include "model/file_hash.h"
#include "model/json_reader.h"
#include "model/pricing.h"

namespace retrosim {
namespace {

constexpr double kUs = 1e-6;
constexpr int kFolds = 5;  // fold 0 is held out
constexpr int kInnerFolds = 4;
constexpr double kSmallBytes = 1e6;        // weights or KV below this show their latency, wherever they are
constexpr double kRotationMultiple = 1.2;  // of L2, that a chain must go round to read HBM
constexpr double kOverlapRidge = 1e-4;

/// One chain: an operation among its like, per launch.
struct Chain {
  Op op;
  double measured_s = 0;  // without the gap between kernels of a graph
  std::string label;
  bool held_out = false;
  int case_index = 0;
};

bool is_held_out(int case_index, const std::string& label) {
  return fold_of(case_index >= 0 ? "case " + std::to_string(case_index) : label, kFolds) == 0;
}

std::size_t index(Parameter parameter) { return static_cast<std::size_t>(parameter); }

class Fitter {
 public:
  Fitter(const std::vector<std::filesystem::path>& folders, const GpuProfile& base) {
    for (const std::filesystem::path& folder : folders) read(folder, base);
    if (folders.empty()) throw InputError("", "--samples", "nothing", "a folder with samples");
  }

  CalibrationFit run() {
    fit_launches();
    fit_links();
    fit_copy_batches();
    read_chains();
    for (const auto& [key, chains] : chains_) fit_roofline_of(key, chains);
    std::map<OpKind, std::vector<std::string>> keys_of;
    for (const auto& [key, chains] : chains_) keys_of[chains.front().op.kind()].push_back(key);
    for (const auto& [kind, keys] : keys_of) fit_tables_of(kind, keys);
    describe();
    fit_steps();
    return std::move(result_);
  }

 private:
  void read(const std::filesystem::path& folder, const GpuProfile& base) {
    const std::filesystem::path machine = folder / "machine.json";
    nlohmann::json json = read_json_file(machine);
    const std::string gpu = JsonReader(json, machine.string()).string("gpu");
    std::filesystem::path file = folder / "samples.jsonl";
    if (!std::filesystem::exists(file)) file = folder / "samples.jsonl.zst";
    if (samples_.empty()) {
      spec_ = find_gpu_spec(gpu);
      result_.ops.profile = base.spec.name == spec_.name ? base : transfer_profile(spec_, base);
      profile().sample_files.clear();
      samples_file_ = file;
      machine_json_ = std::move(json);
    } else if (gpu != spec_.name) {
      throw InputError(machine.string(), "gpu", gpu, spec_.name + ", as in the first folder");
    }
    profile().sample_files.push_back({file.string(), xxh3_of_file(file)});
    std::vector<GraphSample> samples = read_samples(file);
    std::ranges::move(samples, std::back_inserter(samples_));
  }

  GpuProfile& profile() { return result_.ops.profile; }

  double median_of(const std::string& part, const std::vector<std::pair<std::string, double>>& figures) const {
    for (const GraphSample& sample : samples_) {
      const bool same = sample.part == part && std::ranges::all_of(figures, [&](const auto& figure) {
                          return sample.figure(figure.first) == figure.second;
                        });
      if (same) return sample.median_us() * kUs;
    }
    throw InputError(samples_file_.string(), "part", part, "a sample with the figures that the fit needs");
  }

  /// Kernels with an early start, as the decoder launches them: time = launch + nodes * node. The first samples of a
  /// run may be taken while the clocks still rise, so the graphs of several replays count.
  void fit_launches() {
    const double one = median_of("graph_nodes", {{"nodes", 1}, {"early_start", 1}, {"replays", 1}});
    const double many = median_of("graph_nodes", {{"nodes", 512}, {"early_start", 1}, {"replays", 1}});
    profile().graph_node_s = (many - one) / 511;
    profile().graph_launch_s = one;
    profile().kernel_launch_s = median_of("kernel_launches", {}) / 256;
  }

  /// The fastest copy of each size counts: nothing speeds a copy up, while rising clocks and other users of the host
  /// slow it down.
  void fit_links() {
    for (const bool inward : {true, false}) {
      const char* part = inward ? "h2d" : "d2h";
      const double latency_s = median_of(part, {{"bytes", 4096}});
      double& rate = inward ? profile().pcie_h2d_bytes_per_s : profile().pcie_d2h_bytes_per_s;
      rate = 0;
      for (const GraphSample& sample : samples_) {
        if (sample.part != part || sample.figure("bytes") < (4 << 20)) continue;
        rate = std::max(rate, sample.figure("bytes") / (std::ranges::min(sample.samples_us) * kUs - latency_s));
      }
      if (!(rate > 0)) throw InputError(samples_file_.string(), "part", part, "copies of 4 MiB and more");
      if (inward) profile().pcie_latency_s = latency_s;
    }
  }

  /// What each further copy of a batch adds to latency and bytes; samples of earlier versions have none.
  void fit_copy_batches() {
    std::vector<double> further;
    for (const GraphSample& sample : samples_) {
      if (sample.part != "h2d_batch" || sample.figure("copies") < 2) continue;
      const double bytes_s = sample.figure("bytes") / profile().pcie_h2d_bytes_per_s;
      const double rest_s = sample.median_us() * kUs - profile().pcie_latency_s - bytes_s;
      further.push_back(std::max(0.0, rest_s / (sample.figure("copies") - 1)));
    }
    std::ranges::sort(further);
    profile().pcie_copy_s = further.empty() ? 0 : further[further.size() / 2];
  }

  /// Whether a chain read from HBM what a step reads from there.
  bool is_cold(const MeasuredOp& measured) const {
    const Traffic traffic = Op{.shape = measured.shape}.bytes_moved();
    const auto bytes = static_cast<double>(traffic.kv_read + traffic.summary_read + traffic.weight_read);
    if (std::holds_alternative<EmbeddingShape>(measured.shape) || bytes < kSmallBytes) return true;
    return bytes * static_cast<double>(measured.distinct) >= kRotationMultiple * static_cast<double>(spec_.l2_bytes);
  }

  void read_chains() {
    profile().merges_in_attention = false;
    profile().few_row_products = false;
    for (const GraphSample& sample : samples_) {
      if (sample.part != "chain" || sample.throttled) continue;
      const MeasuredOp& measured = sample.ops.front();
      if (const auto* attention = std::get_if<AttentionShape>(&measured.shape); attention != nullptr) {
        profile().merges_in_attention = profile().merges_in_attention || attention->merges;
      }
      if (const auto* product = std::get_if<MatmulShape>(&measured.shape); product != nullptr) {
        profile().few_row_products = profile().few_row_products || product->splits > 0;
      }
      if (!is_cold(measured)) continue;
      const double per_launch =
          (sample.median_us() * kUs - profile().graph_launch_s) / static_cast<double>(measured.count);
      Chain chain{.op = {.shape = measured.shape, .name = "chain"},
                  .measured_s = std::max(per_launch - profile().graph_node_s, 0.05 * kUs),
                  .label = "case " + std::to_string(sample.case_index) + " " + measured.name + " " +
                           std::to_string(measured.count),
                  .held_out = false,
                  .case_index = sample.case_index};
      chain.held_out = is_held_out(sample.case_index, chain.label);
      chains_[kind_key(chain.op.kind(), pricing_dtype(chain.op))].push_back(std::move(chain));
    }
  }

  FitPlan plan_of(const Op& op) const {
    const OpKind kind = op.kind();
    const bool tensor = op.engine() == Engine::tensor_core;
    FitPlan plan;
    plan.start = {2e-6, 0.9, 0.5, 0, 0, 0, 0, 0};
    plan.hbm_bandwidth_bytes_per_s = spec_.hbm_bandwidth_bytes_per_s;
    plan.peak_flops_per_s = tensor ? spec_.peak_flops_per_s(pricing_dtype(op)) : spec_.cuda_core_flops_per_s;
    plan.l2_bandwidth_bytes_per_s = result_.ops.profile.l2_bandwidth_bytes_per_s;
    plan.sm_count = spec_.sm_count;
    plan.fitted[index(Parameter::fixed_latency_s)] = true;
    const bool streams = kind == OpKind::matmul || kind == OpKind::attention || kind == OpKind::page_score;
    plan.fitted[index(Parameter::hbm_efficiency)] = streams;
    if (kind == OpKind::attention) {
      plan.start[index(Parameter::serial_token_s)] = 1e-8;
      plan.fitted[index(Parameter::serial_token_s)] = true;
    }
    plan.fitted[index(Parameter::compute_efficiency)] = kind == OpKind::matmul || kind == OpKind::prefill_attention;
    if (kind == OpKind::prefill_attention) plan.start[index(Parameter::compute_efficiency)] = 0.2;
    return plan;
  }

  void fit_roofline_of(const std::string& key, const std::vector<Chain>& chains) {
    std::vector<LatencySample> samples;
    for (const Chain& chain : chains) {
      samples.push_back({.work = work_of(chain.op, spec_),
                         .measured_s = chain.measured_s,
                         .regime = calibration_regime(chain.op, spec_.sm_count),
                         .label = chain.label,
                         .held_out = chain.held_out});
      samples.back().work.unseen_visits = 0;
    }
    KindProfile kind = fit_roofline(plan_of(chains.front().op), samples);
    kind.source = "own kernels inside a CUDA graph, " + samples_file_.filename().string();
    profile().kinds[key] = kind;
    profile().unseen_visit_s = 0;  // a table has it
  }

  /// Both dtypes of a kind share the tables: they run through the same tiles.
  void fit_tables_of(OpKind kind, const std::vector<std::string>& keys) {
    const auto grids = calibration_grids(kind);
    if (grids.empty()) return;
    std::vector<TableSample> samples;
    for (const std::string& key : keys) {
      const FitPlan plan = plan_of(chains_[key].front().op);
      for (const Chain& chain : chains_[key]) {
        if (chain.held_out) continue;
        LatencySample one;
        one.work = work_of(chain.op, spec_);
        one.work.unseen_visits = 0;
        samples.push_back({.op = chain.op,
                           .log_ratio = std::log(chain.measured_s / predicted_s(plan, profile().kinds[key], one)),
                           .fold = fold_of("inner " + std::to_string(chain.case_index) + chain.label, kInnerFolds)});
      }
    }
    const TableFit fit = fit_latency_tables(grids, samples, spec_.sm_count, {0.003, 0.03, 0.1, 0.3, 1.0}, kInnerFolds);
    for (const std::string& key : keys) profile().kinds[key].tables = fit.tables;
  }

  /// Hold-out errors of chains as priced, the gap between kernels included on both sides.
  void describe() {
    const Pricer pricer(profile());
    const double node_s = profile().graph_node_s;
    for (const auto& [key, chains] : chains_) {
      std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> regimes;
      std::vector<double> predicted;
      std::vector<double> measured;
      for (const Chain& chain : chains) {
        const OpWork work = work_of(chain.op, spec_);
        const FitPlan plan = plan_of(chain.op);
        const double naive_s = std::max((work.hbm_bytes + work.l2_bytes) / spec_.hbm_bandwidth_bytes_per_s,
                                        work.flops / plan.peak_flops_per_s);
        const double price_s = pricer.price(chain.op).latency_s() + node_s;
        const std::string regime = calibration_regime(chain.op, spec_.sm_count);
        result_.ops.residuals.push_back({key, chain.label, regime, (chain.measured_s + node_s) / kUs, price_s / kUs,
                                         naive_s / kUs, chain.held_out});
        if (!chain.held_out) continue;
        for (auto* to : {&predicted, &regimes[regime].first}) to->push_back(price_s);
        for (auto* to : {&measured, &regimes[regime].second}) to->push_back(chain.measured_s + node_s);
      }
      KindProfile& kind = profile().kinds[key];
      kind.hold_out = error_summary(predicted, measured);
      kind.by_regime.clear();
      for (const auto& [regime, values] : regimes) {
        kind.by_regime.push_back({regime, error_summary(values.first, values.second)});
      }
    }
  }

  /// What a launch of each kind, of few rows or of many, saves (or costs) in a step beside a chain of its like: least
  /// squares over the relative errors of the steps that are not held out, with a small pull to 0.
  void fit_steps() {
    constexpr int kUnknowns = 2 * kNumOpKinds;
    const Pricer pricer(profile());
    std::vector<std::array<double, kUnknowns>> counts;
    for (const GraphSample& sample : samples_) {
      if (sample.part != "step" || sample.throttled) continue;
      StepResidual step{.case_index = sample.case_index,
                        .measured_us = sample.median_us(),
                        .sum_us = 0,
                        .predicted_us = 0,
                        .held_out = is_held_out(sample.case_index, "")};
      double sum_s = profile().graph_launch_s - profile().graph_node_s;
      std::array<double, kUnknowns> count{};
      for (const MeasuredOp& measured : sample.ops) {
        const Op op{.shape = measured.shape, .name = "step"};
        const auto launches = static_cast<double>(measured.count);
        sum_s += launches * (pricer.price(op).latency_s() + profile().graph_node_s);
        count[op.shape.index() + (rows_of(op) > kFewRows ? kNumOpKinds : 0)] += launches;
      }
      step.sum_us = sum_s / kUs;
      result_.steps.push_back(step);
      counts.push_back(count);
    }
    Eigen::MatrixXd normal = Eigen::MatrixXd::Identity(kUnknowns, kUnknowns) * kOverlapRidge;
    Eigen::VectorXd right = Eigen::VectorXd::Zero(kUnknowns);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const StepResidual& step = result_.steps[i];
      if (step.held_out) continue;
      const Eigen::Map<const Eigen::VectorXd> count(counts[i].data(), kUnknowns);
      const Eigen::VectorXd relative = count / step.measured_us;
      normal += relative * relative.transpose();
      right += relative * (step.sum_us - step.measured_us) / step.measured_us;
    }
    const Eigen::VectorXd overlap_us = normal.ldlt().solve(right);
    for (auto& [key, chains] : chains_) {
      const auto kind = static_cast<Eigen::Index>(chains.front().op.kind());
      profile().kinds[key].step_overlap_s = overlap_us[kind] * kUs;
      profile().kinds[key].many_rows_step_overlap_s = overlap_us[kind + kNumOpKinds] * kUs;
    }
    const Pricer stepping(profile());
    std::size_t i = 0;
    for (const GraphSample& sample : samples_) {
      if (sample.part != "step" || sample.throttled) continue;
      double sum_s = profile().graph_launch_s - profile().graph_node_s;
      for (const MeasuredOp& op : sample.ops) {
        sum_s += static_cast<double>(op.count) *
                 (stepping.price({.shape = op.shape, .name = "step"}).latency_s() + profile().graph_node_s);
      }
      result_.steps[i++].predicted_us = sum_s / kUs;
    }
    name_profile();
  }

  void name_profile() {
    const JsonReader machine(machine_json_, "machine.json");
    profile().name = spec_.name + "-measured";
    profile().provenance =
        "Measured by `retrosim calibrate` on one " + machine.string("device") + " with this project's own kernels at " +
        machine.string("git_revision") +
        ": products in bf16, decode and prefill attention, page selection and every other operation of a dense "
        "decoder, "
        "launches and PCIe. Not measured here: products in fp8, all-reduce and expert routing (fitted to vLLM kernel "
        "times of an H100 that NVIDIA's aiconfigurator published), the L2 bandwidth (from the same tables), the host's "
        "memory and arithmetic (assumed).";
  }

  std::filesystem::path samples_file_;  // of the first folder
  nlohmann::json machine_json_;
  GpuSpec spec_;
  std::vector<GraphSample> samples_;
  std::map<std::string, std::vector<Chain>> chains_;
  CalibrationFit result_;
};

}  // namespace

CalibrationFit fit_calibration(const std::vector<std::filesystem::path>& folders, const GpuProfile& base) {
  return Fitter(folders, base).run();
}

}  // namespace retrosim
