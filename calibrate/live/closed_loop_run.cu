#include <algorithm>
#include <chrono>
#include <fstream>

#include "calibrate/gpu/event_timing.h"
#include "calibrate/live/checkpoint_decoder.h"
#include "calibrate/live/closed_loop_run.h"
#include "calibrate/live/live_result.h"
#include "calibrate/live/unseen_count.h"
#include "kernels/cuda/check.h"
#include "kernels/matmul/skinny_matmul_cuda.h"
#include "kernels/page_rank/page_rank_cuda.h"
#include "model/error.h"
#include "traces/record_page_ranker.h"
#include "traces/record_plan.h"
#include "traces/trace_writer.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels::cuda;

constexpr int kPromptRows = 64;
constexpr std::uint64_t kSeed = 1;
constexpr int kRounds = 3;

/// One decode, twice.
class Loop {
 public:
  Loop(const RecordPlan& plan, const LiveConfig& live, const DecodeConfig& config, DecodeWeights& weights,
       PromptRunner& prompt, int steps, cudaStream_t stream)
      : plan_(plan),
        live_(live),
        steps_(steps),
        prompt_tokens_(prompt.num_tokens()),
        stream_(stream),
        decoder_(weights, config, prompt, kSeed, stream),
        entries_(static_cast<std::size_t>(config.llm.num_kv_heads * decoder_.state().max_pages)),
        scores_(plan.layers.size() * entries_),
        mass_(plan.layers.size() * entries_),
        unused_scores_(entries_) {}

  LiveResult run(const std::filesystem::path& folder) {
    LiveResult result{.config = live_};
    result.trace = live_.id + ".rtrace";
    result.first_context = prompt_tokens_ + 1;
    record(folder / result.trace, result);
    time(result);
    if (last_selection_ != all_selected()) result.error = "the timed steps selected other pages than the recorded ones";
    cudaDeviceProp device{};
    RETROSIM_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
    result.gpu = device.name;
    result.sm_count = device.multiProcessorCount;
    return result;
  }

 private:
  std::int32_t token(int step) const { return plan_.tokens.tokens[static_cast<std::size_t>(prompt_tokens_ + step)]; }

  std::vector<SelectedPages> all_selected() {
    RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
    std::vector<SelectedPages> all;
    for (const int layer : plan_.layers) all.push_back(decoder_.executor().selected(layer));
    return all;
  }

  void record(const std::filesystem::path& file, LiveResult& result) {
    TraceHeader header = plan_.header;
    header.recorded_policy =
        live_.policy + ", window " + std::to_string(live_.window) + ", budget " + std::to_string(live_.budget);
    TraceWriter writer(file, header);
    decoder_.restart(token(0));
    for (int step = 0; step < steps_; ++step) {
      decoder_.give(token(step));
      RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
      std::vector<std::vector<std::int32_t>> before;
      for (const int layer : plan_.layers) {
        auto& last = decoder_.state().layers[static_cast<std::size_t>(layer)].last_loaded;
        before.push_back(last.size() > 0 ? last.download() : std::vector<std::int32_t>());
      }
      decoder_.executor().enqueue_each(stream_, [&](const Op& op) { observe(op); });
      RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream_));
      count(prompt_tokens_ + step + 1, before, result);
      write(prompt_tokens_ + step, writer);
    }
    writer.close();
    last_selection_ = all_selected();
  }

  /// Keeps the scores that the layer selects by, and the mass that its queries put on each page.
  void observe(const Op& op) {
    if (op.kind() != OpKind::page_score) return;
    const auto slot = std::lower_bound(plan_.layers.begin(), plan_.layers.end(), op.layer) - plan_.layers.begin();
    const std::size_t at = static_cast<std::size_t>(slot) * entries_;
    RETROSIM_CUDA_CHECK(cudaMemcpyAsync(scores_.data() + at, decoder_.executor().latest_page_scores(),
                                        entries_ * sizeof(float), cudaMemcpyDeviceToDevice, stream_));
    rank_pages({.cache = decoder_.state().kv_cache(op.layer),
                .table = decoder_.state().page_table(),
                .num_q_heads = plan_.weights.llm.num_q_heads,
                .q = decoder_.executor().queries(),
                .scores = unused_scores_.data(),
                .mass = mass_.data() + at},
               scratch_, stream_);
  }

  void count(std::int64_t context, const std::vector<std::vector<std::int32_t>>& before, LiveResult& result) {
    const DecodeConfig& config = decoder_.config();
    DecodeConfig now = config;
    now.context = context;
    result.layers = demand_without_unseen(now).layers;
    std::int64_t unseen = 0;
    std::int64_t kept = 0;
    for (std::size_t slot = 0; slot < plan_.layers.size(); ++slot) {
      LayerDemand& layer = result.layers[static_cast<std::size_t>(plan_.layers[slot])];
      layer = count_demand(decoder_.executor().selected(plan_.layers[slot]), context, config.page_size, config.window,
                           before[slot], decoder_.state().max_pages, kept);
      unseen += layer.unseen_visits;
    }
    result.unseen_by_step.push_back(unseen);
  }

  void write(std::int64_t position, TraceWriter& writer) {
    const std::vector<float> scores = scores_.download();
    const std::vector<float> mass = mass_.download();
    const auto heads = static_cast<std::size_t>(plan_.weights.llm.num_kv_heads);
    const auto max_pages = static_cast<std::size_t>(decoder_.state().max_pages);
    StepRecord record{.position = position, .num_pages = plan_.header.num_pages(position), .heads = {}};
    const auto pages = static_cast<std::size_t>(record.num_pages);
    std::vector<PageRanks> ranks(plan_.layers.size() * heads);
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      order_pages({scores.data() + i * max_pages, pages}, {mass.data() + i * max_pages, pages}, 0, ranks[i]);
      record.heads.push_back({.pages = ranks[i].pages, .mass = ranks[i].mass, .rest = ranks[i].rest});
    }
    writer.add_step(record);
  }

  void time(LiveResult& result) {
    std::vector<std::vector<double>> times(static_cast<std::size_t>(steps_));
    for (int round = 0; round < kRounds; ++round) {
      decoder_.restart(token(0));
      std::vector<std::unique_ptr<EventPair>> events;
      for (int step = 0; step < steps_; ++step) {
        decoder_.give(token(step));
        events.push_back(std::make_unique<EventPair>());
        events.back()->begin(stream_);
        decoder_.executor().replay(stream_);
        events.back()->end(stream_);
      }
      for (std::size_t step = 0; step < events.size(); ++step) times[step].push_back(events[step]->microseconds());
    }
    for (const auto& of_step : times) result.step_us.push_back(median_of(of_step));
  }

  const RecordPlan& plan_;
  LiveConfig live_;
  int steps_;
  std::int64_t prompt_tokens_;
  cudaStream_t stream_;
  CheckpointDecoder decoder_;
  std::size_t entries_;  // [kv heads, max_pages]
  DeviceBuffer<float> scores_;
  DeviceBuffer<float> mass_;
  DeviceBuffer<float> unused_scores_;
  PageRankScratch scratch_;
  std::vector<SelectedPages> last_selection_;
};

struct Variant {
  int window;
  double budget;
};

}  // namespace

int run_closed_loop(const ClosedLoopOptions& options, const std::function<void(const std::string&)>& progress) {
  if (!gpu_available()) throw InputError("", "GPU", "none", "a GPU of compute capability 8.0 or later");
  std::ofstream out(options.out / "closed_loop.jsonl", std::ios::app);
  if (!out) throw InputError((options.out / "closed_loop.jsonl").string() + ": cannot be written");
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const auto start = std::chrono::steady_clock::now();
  constexpr int kDenseLayers = 2;
  constexpr int kPageSize = 16;
  int runs = 0;
  for (const std::filesystem::path& text : options.tokens) {
    for (const std::int64_t context : options.contexts) {
      RecordOptions record{.first_position = context, .steps = options.steps, .page_size = kPageSize};
      record.tool_version = "retrosim live";
      RecordPlan plan = plan_recording(options.checkpoint, text, record);
      plan.layers.erase(plan.layers.begin(), plan.layers.begin() + kDenseLayers);
      plan.header.recorded_layers = plan.layers;
      PromptRunner prompt(plan.weights, DType::bf16, plan.end + 1, kPageSize, kPromptRows, kSeed, stream);
      for (std::int64_t at = 0; at < context; at += kPromptRows) {
        prompt.run(std::span(plan.tokens.tokens)
                       .subspan(static_cast<std::size_t>(at),
                                static_cast<std::size_t>(std::min<std::int64_t>(kPromptRows, context - at))),
                   [](int, std::int64_t, std::int64_t) {});
      }
      DecodeWeights weights(prompt.config().llm, DType::bf16, kSkinnyMaxRows, 1);
      weights.upload(plan.weights);
      for (const Variant& variant : {Variant{1, 0.15}, Variant{2, 0.15}, Variant{4, 0.15}, Variant{8, 0.15},
                                     Variant{16, 0.15}, Variant{2, 0.3}}) {
        if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > options.seconds) break;
        LiveConfig live;
        live.group = "closed_loop";
        live.id = "closed_loop-" + std::to_string(runs);
        live.llm = options.llm;
        live.window = variant.window;
        live.budget = variant.budget;
        live.context = context + options.steps / 2;
        live.page_size = kPageSize;
        live.dense_layers = kDenseLayers;
        DecodeConfig config = prompt.config();
        config.policy = make_policy(live.policy, {.budget = live.budget});
        config.window = live.window;
        config.batch = 1;
        config.dense_layers = kDenseLayers;
        config.context = context + options.steps;
        LiveResult result;
        try {
          result = Loop(plan, live, config, weights, prompt, options.steps, stream).run(options.out);
        } catch (const std::exception& error) {
          result = {.config = live};
          result.error = error.what();
        }
        out << to_json_line(result) << std::endl;
        progress(live.id + " w " + std::to_string(live.window) + ": " + std::to_string(median_of(result.step_us)) +
                 " us " + result.error);
        ++runs;
      }
    }
  }
  return runs;
}

}  // namespace retrosim::gpu
