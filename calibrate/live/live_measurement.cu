// run_live(): what is timed of a live decoder, and what is counted.
#include <algorithm>
#include <map>

#include "calibrate/gpu/event_timing.h"
#include "calibrate/live/live_decoder.h"
#include "calibrate/live/unseen_count.h"
#include "kernels/cuda/check.h"
#include "model/error.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels::cuda;

constexpr int kPartReplays = 7;
constexpr double kChainUs = 300;  // a replayed chain takes about this long at least
constexpr int kMaxPasses = 24;

class Measurement {
 public:
  Measurement(const LiveConfig& live, const DecodeConfig& config, DecodeWeights& weights, const LiveOptions& options,
              cudaStream_t stream)
      : options_(options),
        stream_(stream),
        warm_up_(std::max(6, config.window + 2)),
        decoder_(live, config, weights, warm_up_ + options.timed_steps + kSpareSteps, stream) {
    result_.config = live;
  }

  LiveResult run() {
    const DecodeConfig& config = decoder_.config();
    const std::int64_t first = config.context - options_.timed_steps / 2 - warm_up_;
    decoder_.set_context(std::max<std::int64_t>(first, 1), 1);
    for (int i = 0; i < warm_up_; ++i) step();
    result_.first_context = decoder_.context();
    time_steps();
    count_step();
    const bool on_one_stream =
        std::all_of(ops().begin(), ops().end(), [](const Op* op) { return op->stream == Stream::compute; });
    if (options_.parts && on_one_stream) measure_parts();
    return result_;
  }

 private:
  static constexpr int kSpareSteps = 24;

  std::vector<const Op*>& ops() {
    if (ops_.empty()) {
      for (StepGraph::Vertex v = 0; v < decoder_.graph().size(); ++v) ops_.push_back(&decoder_.graph().op(v));
    }
    return ops_;
  }

  void step() {
    decoder_.advance();
    decoder_.replay();
  }

  /// Steps are enqueued without waiting in between, but where the host takes part.
  void time_steps() {
    std::vector<std::unique_ptr<EventPair>> events;
    for (int i = 0; i < options_.timed_steps; ++i) {
      decoder_.advance();
      events.push_back(std::make_unique<EventPair>());
      events.back()->begin(stream_);
      decoder_.replay();
      events.back()->end(stream_);
    }
    for (const auto& pair : events) result_.step_us.push_back(pair->microseconds());
  }

  /// One more step, whose pages are counted; the pages it stamped are as before afterwards, and so is the position.
  void count_step() {
    const DecodeConfig& config = decoder_.config();
    DecodeState& state = decoder_.state();
    decoder_.advance();
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
    std::vector<std::vector<std::int32_t>> before;
    for (DecodeLayerState& layer : state.layers) {
      before.push_back(layer.last_loaded.size() > 0 ? layer.last_loaded.download() : std::vector<std::int32_t>());
    }
    const std::int64_t context = decoder_.context();
    decoder_.replay();
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
    std::int64_t kept = 0;
    std::int64_t loaded = 0;
    DecodeConfig now = config;
    now.context = context;
    result_.layers = demand_without_unseen(now).layers;
    const bool selects = result_.layers.empty()
                             ? false
                             : config.policy->pages_selected(now.num_pages(), config.page_size) < now.num_pages();
    for (int i = 0; i < config.llm.num_layers; ++i) {
      LayerDemand& layer = result_.layers[static_cast<std::size_t>(i)];
      layer.recalled_pages = 0;
      if (!selects || !config.is_sparse(i)) continue;
      layer = count_demand(decoder_.executor().selected(i), context, config.page_size, config.window,
                           before[static_cast<std::size_t>(i)], state.max_pages, kept);
      layer.recalled_pages = decoder_.executor().pages_recalled(i) * config.llm.num_kv_heads;
      if (!before[static_cast<std::size_t>(i)].empty()) loaded += layer.pages_loaded;
    }
    if (loaded > 0) result_.overlap = static_cast<double>(kept) / static_cast<double>(loaded);
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (!before[i].empty()) state.layers[i].last_loaded.upload(before[i]);
    }
    decoder_.set_context(context, std::min(config.window, warm_up_));
  }

  std::vector<double> replay_times(const CapturedOps& captured) {
    for (int i = 0; i < 2; ++i) captured.replay(stream_);
    return time_each(kPartReplays, stream_, [&](int) { captured.replay(stream_); });
  }

  void measure_parts() {
    const StepGraph& graph = decoder_.graph();
    const std::int64_t context = decoder_.context();
    std::map<std::string, std::vector<StepGraph::Vertex>> by_name;
    std::vector<std::string> names;  // in the order of the step
    for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
      auto& vertices = by_name[graph.op(v).name];
      if (vertices.empty()) names.emplace_back(graph.op(v).name);
      vertices.push_back(v);
    }
    for (const std::string& name : names) {
      if (name == "sample") continue;  // moves the sequences on
      const auto& vertices = by_name[name];
      double floor_us = 0;
      for (const StepGraph::Vertex v : vertices) {
        floor_us += 1.5 + static_cast<double>(graph.op(v).bytes_moved().hbm()) / 4e6 + graph.op(v).flops() / 8e8;
      }
      const int passes = std::clamp(static_cast<int>(kChainUs / floor_us), 1, kMaxPasses);
      const CapturedOps captured = decoder_.executor().capture_ops(
          [&](StepGraph::Vertex v) { return std::binary_search(vertices.begin(), vertices.end(), v); }, passes, false);
      const double us = median_of(replay_times(captured));
      result_.ops.push_back({.name = name,
                             .launches = static_cast<std::int64_t>(vertices.size()),
                             .latency_us = us / static_cast<double>(captured.num_ops())});
    }
    decoder_.set_context(context, decoder_.config().window);
    const CapturedOps rest =
        decoder_.executor().capture_ops([&](StepGraph::Vertex v) { return graph.op(v).kind() != OpKind::matmul; }, 1);
    std::vector<std::unique_ptr<EventPair>> events;
    for (int i = 0; i < kPartReplays + 2; ++i) {
      decoder_.advance();
      events.push_back(std::make_unique<EventPair>());
      events.back()->begin(stream_);
      rest.replay(stream_);
      events.back()->end(stream_);
    }
    for (std::size_t i = 2; i < events.size(); ++i) result_.without_products_us.push_back(events[i]->microseconds());
  }

  LiveOptions options_;
  cudaStream_t stream_;
  int warm_up_;
  LiveDecoder decoder_;
  LiveResult result_;
  std::vector<const Op*> ops_;
};

}  // namespace

LiveResult run_live(const LiveConfig& live, LiveWeights& weights, const LiveOptions& options, cudaStream_t stream) {
  if (!gpu_available()) throw InputError("", "GPU", "none", "a GPU of compute capability 8.0 or later");
  const int sm_count = device_attribute(cudaDevAttrMultiProcessorCount);
  const DecodeConfig config = decode_config(live, sm_count);
  LiveResult result = Measurement(live, config, weights.of(live, config, stream), options, stream).run();
  cudaDeviceProp device{};
  RETROSIM_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
  result.gpu = device.name;
  result.sm_count = sm_count;
  return result;
}

}  // namespace retrosim::gpu
