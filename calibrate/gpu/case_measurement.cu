#include <algorithm>
#include <functional>
#include <map>
#include <string_view>

#include "calibrate/gpu/case_measurement.h"
#include "calibrate/gpu/event_timing.h"
#include "calibrate/gpu/unseen_pages.h"
#include "calibrate/op_json.h"
#include "kernels/cuda_step/step_executor.h"
#include "kernels/matmul/skinny_matmul_cuda.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels::cuda;

constexpr int kWarmReplays = 2;
constexpr int kReplays = 9;
constexpr int kStepReplays = 15;
constexpr std::int64_t kSpareTokens = 1024;  // positions that the replays of one case run through
constexpr double kChainS = 400e-6;           // a replayed chain takes about this long at least
constexpr int kMinLaunches = 3;              // of a chain over layers
constexpr int kMaxPasses = 48;
constexpr int kMaxSamplePasses = 16;  // each pass moves the sequences on by a token

struct OpGroup {
  std::string_view name;
  OpShape shape;
  std::vector<StepGraph::Vertex> vertices;
};

bool is_in(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

class CaseRun {
 public:
  CaseRun(const CalibrationCase& one, cudaStream_t stream)
      : case_(one),
        config_(one.config),
        stream_(stream),
        graph_(build_decode_step(config_, demand_without_unseen(config_))),
        weights_(config_.llm, DType::bf16, config_.batch * config_.window, config_.batch),
        state_(config_, config_.context + kSpareTokens, 1),
        executor_(config_, graph_, weights_, state_) {
    weights_.fill_random(static_cast<std::uint64_t>(one.index) + 1, stream);
    state_.fill_random(3, stream);
    state_.set_position(config_.context, config_.window);
    for (StepGraph::Vertex v = 0; v < graph_.size(); ++v) add_to_group(v);
  }

  std::vector<GraphSample> run() {
    for (int i = 0; i < config_.window + 2; ++i) executor_.replay(stream_);
    if (!case_.attention_alone) {
      measure_step();
      measure_segments();
    }
    for (const OpGroup& group : groups_) {
      if (case_.attention_alone && !is_in(group.name, {"attention", "attention_merge"})) continue;
      measure_chain(group, case_.seen_share);
      const auto* attention = std::get_if<AttentionShape>(&group.shape);
      if (attention == nullptr || !attention->tracks_last_loaded) continue;
      for (const double share : case_.more_seen_shares) measure_chain(group, share);
    }
    return std::move(samples_);
  }

 private:
  /// Launches that differ in nothing but the layer whose weights and caches they use.
  void add_to_group(StepGraph::Vertex v) {
    const Op& op = graph_.op(v);
    const std::string key = std::string(op.name) + to_json(op.shape).dump();
    const auto [found, is_new] = group_of_.try_emplace(key, groups_.size());
    if (is_new) groups_.push_back({op.name, op.shape, {}});
    groups_[found->second].vertices.push_back(v);
  }

  std::string path_of(const OpGroup& group) const {
    if (!std::holds_alternative<MatmulShape>(group.shape)) return "";
    const std::int64_t most = group.name == "lm_head" ? config_.batch : config_.batch * config_.window;
    return most <= kSkinnyMaxRows ? "skinny" : "lt";
  }

  MeasuredOp measured(const OpGroup& group, std::size_t passes) const {
    return {.name = std::string(group.name),
            .shape = group.shape,
            .count = static_cast<std::int64_t>(group.vertices.size() * passes),
            .distinct = static_cast<std::int64_t>(group.vertices.size()),
            .path = path_of(group)};
  }

  std::vector<double> replay_times(int replays, const std::function<void()>& replay) {
    for (int i = 0; i < kWarmReplays; ++i) replay();
    return time_each(replays, stream_, [&](int) { replay(); });
  }

  void rewind() {
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
    state_.set_position(config_.context, config_.window);
  }

  /// Counts of one layer stand for all layers that revise older rows.
  void measure_step() {
    GraphSample sample{.case_index = case_.index, .part = "step"};
    sample.samples_us = replay_times(kStepReplays, [&] { executor_.replay(stream_); });
    UnseenPages unseen;
    const int last_layer = config_.llm.num_layers - 1;
    if (config_.window > 1 && has_selection()) {
      unseen = count_in_step(state_, executor_, last_layer, config_.page_size, stream_);
    }
    for (OpGroup group : groups_) {
      set_unseen(group.shape, unseen);
      sample.ops.push_back(measured(group, 1));
    }
    samples_.push_back(std::move(sample));
  }

  static void set_unseen(OpShape& shape, const UnseenPages& unseen) {
    if (auto* attention = std::get_if<AttentionShape>(&shape); attention != nullptr && attention->tracks_last_loaded) {
      attention->unseen_visits = unseen.visits;
      attention->unseen_union = unseen.union_;
    }
  }

  bool has_selection() const {
    return std::ranges::any_of(groups_, [](const OpGroup& group) { return group.name == "top_k"; });
  }

  /// Parts of a layer. After the first replay of the one with attention, which stamps the pages, nothing is unseen.
  void measure_segments() {
    measure_segment("attention_input", {"input_norm", "qkv_proj", "rope_append"});
    if (has_selection()) measure_segment("selection", {"page_score", "top_k"});
    measure_segment("attention", {"attention", "attention_merge"});
    measure_segment("output_and_mlp", {"o_proj", "post_attention_norm", "gate_up_proj", "silu_mul", "down_proj"});
  }

  void measure_segment(const char* part, std::initializer_list<std::string_view> names) {
    rewind();
    constexpr std::size_t kPasses = 3;
    GraphSample sample{.case_index = case_.index, .part = part};
    for (const OpGroup& group : groups_) {
      if (is_in(group.name, names)) sample.ops.push_back(measured(group, kPasses));
    }
    const CapturedOps captured =
        executor_.capture_ops([&](StepGraph::Vertex v) { return is_in(graph_.op(v).name, names); }, kPasses);
    sample.samples_us = replay_times(kReplays, [&] { captured.replay(stream_); });
    samples_.push_back(std::move(sample));
  }

  int passes_for(const OpGroup& group) const {
    const Op op{.shape = group.shape};
    const double at_least_s = 1.5e-6 + static_cast<double>(op.bytes_moved().hbm()) / 4e12 + op.flops() / 8e14;
    const double launches = kChainS / at_least_s;
    const int most = group.name == "sample" ? kMaxSamplePasses : kMaxPasses;
    return std::clamp(static_cast<int>(launches / static_cast<double>(group.vertices.size())), 1, most);
  }

  void measure_chain(OpGroup group, double seen_share) {
    const bool once = is_in(group.name, {"embedding", "lm_head", "sample"});
    if (group.name == "final_norm" || (!once && group.vertices.size() < kMinLaunches)) return;
    rewind();
    if (auto* attention = std::get_if<AttentionShape>(&group.shape))
      set_unseen(group.shape, age_pages(*attention, seen_share));
    const int passes = passes_for(group);
    const CapturedOps captured = executor_.capture_ops(
        [&](StepGraph::Vertex v) { return std::ranges::binary_search(group.vertices, v); }, passes, false);
    GraphSample sample{.case_index = case_.index, .part = "chain"};
    sample.ops.push_back(measured(group, static_cast<std::size_t>(passes)));
    sample.samples_us = replay_times(kReplays, [&] { captured.replay(stream_); });
    samples_.push_back(std::move(sample));
  }

  UnseenPages age_pages(const AttentionShape& shape, double seen_share) {
    if (!shape.tracks_last_loaded) return {};
    executor_.replay(stream_);  // selections of the position that the chain runs at
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
    UnseenPages sum;
    const int first = config_.first_sparse_layer();
    for (int layer = first; layer < config_.llm.num_layers; ++layer) {
      const UnseenPages unseen = set_ages(state_, executor_, layer, config_.page_size, seen_share);
      sum.visits += unseen.visits;
      sum.union_ += unseen.union_;
    }
    const std::int64_t layers = config_.llm.num_layers - first;
    return {.visits = sum.visits / layers, .union_ = sum.union_ / layers};
  }

  CalibrationCase case_;
  DecodeConfig config_;
  cudaStream_t stream_;
  StepGraph graph_;
  DecodeWeights weights_;
  DecodeState state_;
  StepExecutor executor_;
  std::map<std::string, std::size_t> group_of_;
  std::vector<OpGroup> groups_;
  std::vector<GraphSample> samples_;
};

}  // namespace

std::vector<GraphSample> measure_case(const CalibrationCase& one, cudaStream_t stream) {
  return CaseRun(one, stream).run();
}

}  // namespace retrosim::gpu
