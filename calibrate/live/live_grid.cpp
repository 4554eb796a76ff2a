#include "calibrate/live/live_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>

#include "model/error.h"
#include "model/step_graph.h"

namespace retrosim {
namespace {

constexpr int kSms = 132;  // H100 and H200; only decides the splits in the byte counts here
constexpr double kL2Bytes = 60e6;
constexpr int kFewestLayers = 6;  // the LM head should not outweigh them

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  double uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  double log_uniform(double low, double high) { return low * std::pow(high / low, uniform()); }
  template <class T, std::size_t N>
  T pick(const std::array<T, N>& choices) {
    return choices[static_cast<std::size_t>(uniform() * N)];
  }

 private:
  std::mt19937_64 random_;
};

/// As few layers as fill L2 four times over, six at least, for every operation to find its data in HBM.
int layers_for(const LiveConfig& live) {
  LiveConfig one = live;
  const int all = find_llm_spec(live.llm).num_layers;
  for (int layers = kFewestLayers; layers < all; ++layers) {
    one.layers = layers;
    const DecodeConfig config = decode_config(one, kSms);
    const auto bytes =
        static_cast<double>(total_traffic(build_decode_step(config, demand_without_unseen(config))).hbm());
    if (bytes > 4 * kL2Bytes && layers >= kFewestLayers) return layers;
  }
  return all;
}

LiveConfig draw_point(Draw& draw, const LiveGridOptions& options) {
  constexpr std::array<const char*, 7> kModels{
      "smollm2-135m", "qwen3-4b-instruct-2507", "llama-2-7b", "llama-3.1-8b", "qwen2.5-14b", "qwen2.5-32b",
      "qwen3-32b"};
  constexpr std::array kPages{8, 16, 16, 32, 64};
  LiveConfig live;
  live.llm = draw.pick(kModels);
  const std::int64_t longest = std::min<std::int64_t>(find_llm_spec(live.llm).max_position, 131072) - 128;
  live.batch = std::llround(draw.log_uniform(0.8, 64.4));
  live.context = std::min<std::int64_t>(std::llround(draw.log_uniform(2048, 131072)), longest);
  live.page_size = draw.pick(kPages);
  live.budget = std::round(1000 * draw.log_uniform(0.05, 1.0)) / 1000;
  live.kv_dtype = draw.uniform() < 0.25 ? DType::fp8_e4m3 : DType::bf16;
  live.dense_layers = draw.uniform() < 0.5 ? 1 : 0;
  live.selection = LiveSelection::drift;
  live.correlation = std::round(1000 * (0.90 + 0.09 * draw.uniform())) / 1000;
  live.seed = 1 + static_cast<std::uint64_t>(draw.uniform() * 1e6) + options.seed;
  live.batch = std::max<std::int64_t>(1, live.batch);
  live.layers = layers_for(live);
  return live;
}

bool fits(const LiveConfig& live, const LiveGridOptions& options) {
  const DecodeConfig config = decode_config(live, kSms);
  const auto bytes = static_cast<double>(total_traffic(build_decode_step(config, demand_without_unseen(config))).hbm());
  return device_bytes(config) <= options.device_bytes && 1e6 * bytes / options.bytes_per_s <= options.floor_us;
}

LiveConfig llama(const char* group, std::uint64_t seed) {
  LiveConfig live;
  live.group = group;
  live.selection = LiveSelection::drift;
  live.seed = seed;
  live.layers = 6;
  live.dense_layers = 1;
  return live;
}

void number(std::vector<LiveConfig>& grid) {
  for (std::size_t i = 0; i < grid.size(); ++i) grid[i].id = grid[i].group + "-" + std::to_string(i);
}

}  // namespace

std::vector<LiveConfig> live_grid(const LiveGridOptions& options) {
  constexpr std::array kWindows{2, 4, 8, 16};
  Draw draw(options.seed);
  std::vector<LiveConfig> grid;
  std::array<int, 2> wanted{options.points - options.points / 2, options.points / 2};  // KV below, above half
  int full = std::max(4, options.points / 8);
  int window = 0;
  while (wanted[0] + wanted[1] + full > 0) {
    LiveConfig live = draw_point(draw, options);
    live.window = kWindows[static_cast<std::size_t>(window)];
    if (!fits(live, options)) continue;
    const auto regime = static_cast<std::size_t>(kv_traffic_share(decode_config(live, kSms)) > 0.5 ? 1 : 0);
    if (wanted[regime] == 0) {
      if (full == 0) continue;
      live.policy = "full";
      live.window = 1;
      live.budget = 1;
      live.group = "grid.full";
      if (!fits(live, options)) continue;
      --full;
      grid.push_back(live);
      continue;
    }
    --wanted[regime];
    window = (window + 1) % static_cast<int>(kWindows.size());
    live.group = regime == 1 ? "grid.kv" : "grid.weights";
    LiveConfig without = live;
    without.window = 1;
    grid.push_back(without);
    grid.push_back(live);
  }
  number(grid);
  return grid;
}

std::vector<LiveConfig> policy_grid(std::uint64_t seed) {
  struct Shape {
    std::int64_t batch;
    std::int64_t context;
  };
  std::vector<LiveConfig> grid;
  for (const Shape& shape : {Shape{1, 32768}, Shape{4, 16384}, Shape{8, 8192}}) {
    for (const char* policy : {"full", "streaming", "quest", "retro", "reuse", "arkvale"}) {
      LiveConfig live = llama("policies", seed);
      live.policy = policy == std::string_view("retro") ? "quest" : policy;
      live.window = policy == std::string_view("retro") ? 2 : 1;
      live.batch = shape.batch;
      live.context = shape.context;
      if (live.policy == "full" || live.policy == "streaming") live.selection = LiveSelection::scores;
      grid.push_back(live);
    }
  }
  number(grid);
  return grid;
}

std::vector<LiveConfig> overhead_grid(std::uint64_t seed) {
  std::vector<LiveConfig> grid;
  for (const std::int64_t batch : {1, 8, 32}) {
    for (const std::int64_t context : {2048, 8192, 32768}) {
      for (const int window : {1, 2, 4, 8, 16}) {
        LiveConfig live = llama("overhead", seed);
        live.layers = 8;
        live.dense_layers = 2;
        live.batch = batch;
        live.context = context;
        live.window = window;
        grid.push_back(live);
      }
    }
  }
  number(grid);
  return grid;
}

std::vector<LiveConfig> overlap_grid(std::uint64_t seed) {
  std::vector<LiveConfig> grid;
  for (const std::int64_t megabytes : {0, 8, 32, 64, 128, 256}) {
    LiveConfig live = llama("overlap", seed);
    live.layers = 8;
    live.batch = 8;
    live.context = 16384;
    live.prefetch_bytes = megabytes * 1000000;
    grid.push_back(live);
  }
  number(grid);
  return grid;
}

std::vector<LiveConfig> counter_grid(std::uint64_t seed) {
  struct Shape {
    const char* llm;
    std::int64_t batch;
    std::int64_t context;
    int window;
    double budget;
    int page_size;
    DType kv_dtype;
  };
  constexpr DType kBf16 = DType::bf16;
  constexpr DType kFp8 = DType::fp8_e4m3;
  const std::array<Shape, 24> shapes{{
      {"llama-3.1-8b", 1, 131000, 1, 0.5, 16, kBf16},
      {"llama-3.1-8b", 1, 131000, 1, 0.5, 8, kBf16},
      {"llama-3.1-8b", 4, 32768, 1, 0.3, 16, kBf16},
      {"llama-3.1-8b", 4, 32768, 2, 0.3, 16, kBf16},
      {"llama-3.1-8b", 8, 32768, 1, 0.15, 16, kBf16},
      {"llama-3.1-8b", 8, 32768, 8, 0.15, 16, kBf16},
      {"llama-3.1-8b", 16, 16384, 1, 0.15, 16, kBf16},
      {"llama-3.1-8b", 16, 16384, 4, 0.15, 32, kBf16},
      {"llama-3.1-8b", 32, 8192, 1, 0.3, 16, kBf16},
      {"llama-3.1-8b", 32, 8192, 2, 0.3, 64, kBf16},
      {"llama-3.1-8b", 512, 2048, 16, 0.3, 16, kBf16},
      {"llama-3.1-8b", 32, 16384, 16, 0.15, 16, kFp8},
      {"qwen2.5-14b", 8, 32000, 1, 0.2, 16, kBf16},
      {"qwen2.5-14b", 16, 16384, 2, 0.2, 16, kFp8},
      {"qwen2.5-32b", 1, 100000, 1, 0.5, 16, kBf16},
      {"qwen2.5-32b", 8, 16384, 1, 0.3, 16, kBf16},
      {"qwen2.5-32b", 256, 2048, 16, 0.3, 16, kBf16},
      {"qwen3-32b", 16, 8192, 1, 0.3, 16, kBf16},
      {"qwen3-32b", 256, 2048, 16, 0.3, 16, kBf16},
      {"llama-2-7b", 16, 4000, 1, 0.5, 16, kBf16},
      {"llama-2-7b", 32, 4000, 1, 0.5, 32, kBf16},
      {"llama-2-7b", 32, 4000, 2, 0.5, 16, kFp8},
      {"qwen3-4b-instruct-2507", 8, 65536, 1, 0.15, 16, kBf16},
      {"qwen3-4b-instruct-2507", 8, 65536, 4, 0.15, 16, kFp8},
  }};
  std::vector<LiveConfig> grid;
  for (const Shape& shape : shapes) {
    LiveConfig live = llama("counters", seed);
    live.llm = shape.llm;
    live.layers = 3;
    live.batch = shape.batch;
    live.context = shape.context;
    live.window = shape.window;
    live.budget = shape.budget;
    live.page_size = shape.page_size;
    live.kv_dtype = shape.kv_dtype;
    grid.push_back(live);
  }
  number(grid);
  return grid;
}

}  // namespace retrosim
