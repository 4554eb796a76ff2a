#include "calibrate/calibration_design.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "model/kv_format.h"

namespace retrosim {
namespace {

constexpr double kMemoryShare = 0.5;         // of the GPU's, that a case may take
constexpr double kL2Multiples = 6;           // of L2, that the weights of all layers take
constexpr double kAttentionL2Multiples = 2;  // of L2, that all layers' loaded pages take in a case of attention alone
constexpr double kSlowestPassS = 5e-3;       // of a step at the datasheet's bandwidth
constexpr int kMinLayers = 4;
constexpr int kMaxLayers = 32;

/// Draws with an implementation of its own: standard distributions differ between libraries.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  double uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(random_() >> 11U) * 0x1p-53);
  }
  double log_uniform(double low, double high) { return std::exp(uniform(std::log(low), std::log(high))); }
  template <class T, std::size_t N>
  T pick(const std::array<T, N>& values) {
    return values[static_cast<std::size_t>(uniform(0, static_cast<double>(N)))];
  }

 private:
  std::mt19937_64 random_;
};

std::int64_t rounded(double value, std::int64_t multiple) {
  return std::max(multiple, multiple * static_cast<std::int64_t>(std::llround(value / static_cast<double>(multiple))));
}

double weight_bytes_of_layer(const LlmSpec& llm) { return 2.0 * static_cast<double>(llm.active_params_of_layer(0)); }

double kv_bytes_of_layer(const DecodeConfig& config, std::int64_t tokens) {
  return static_cast<double>(
      kv_bytes(config.kv_dtype, config.batch * tokens * config.llm.num_kv_heads, config.llm.head_dim));
}

void draw_shape(Draw& draw, LlmSpec& llm) {
  llm.name = "calibration";
  llm.model_type = "llama";
  const double hidden = draw.log_uniform(512, 8192);
  llm.hidden_size = static_cast<int>(rounded(hidden, draw.pick(std::array<std::int64_t, 4>{64, 128, 512, 512})));
  // Heads whose projections are about as wide as the hidden state.
  double ratio = 0;
  do {
    llm.head_dim = hidden < 2600 ? draw.pick(std::array{64, 64, 128}) : draw.pick(std::array{64, 128, 128, 128});
    llm.num_kv_heads = draw.pick(std::array{1, 2, 3, 4, 4, 5, 8, 8, 8, 8, 16, 32});
    llm.num_q_heads = llm.num_kv_heads * draw.pick(std::array{1, 2, 3, 4, 4, 5, 7, 8});
    ratio = static_cast<double>(llm.num_q_heads * llm.head_dim) / llm.hidden_size;
  } while (ratio < 0.5 || ratio > 2);
  llm.intermediate_size = static_cast<int>(rounded(llm.hidden_size * draw.uniform(2, 5.5), 64));
  llm.vocab_size = static_cast<int>(rounded(draw.log_uniform(8192, 160000), 64));
  llm.num_layers = kMinLayers;
  llm.layer_is_moe.assign(kMinLayers, 0);
  llm.max_position = 1 << 20;
  llm.qk_norm = draw.uniform(0, 1) < 0.2;
  llm.qkv_bias = draw.uniform(0, 1) < 0.3;
  llm.rope_theta = 5e5;
}

/// Rows, context and selection. Three in four cases are sparse, the rest dense.
void draw_batch(Draw& draw, int index, DecodeConfig& config) {
  const bool sparse = index % 4 != 3;
  if (sparse) {
    config.window = draw.pick(std::array{1, 1, 1, 2, 2, 3, 4, 4, 8, 8, 16, 32});
    // Many sequences in half of the cases: more blocks of attention than SMs.
    config.batch = rounded(index % 2 == 0 ? draw.log_uniform(1, 64) : draw.log_uniform(4, 128), 1);
    // Most windows of a small batch: their rows are what a retrospective window is for.
    if (index % 2 == 0) config.batch = std::max<std::int64_t>(1, config.batch / config.window);
    const double budget = draw.log_uniform(0.05, 0.95);
    config.policy = make_policy("quest", {.budget = budget});
    config.dense_layers = 1;
  } else {
    config.batch = rounded(draw.log_uniform(1, index % 8 == 3 ? 64 : 1024), 1);
    config.policy = make_policy("full", PolicyParams{});
    config.dense_layers = 0;
  }
  config.context = rounded(draw.log_uniform(1024, 131072), 64) + static_cast<std::int64_t>(draw.uniform(0, 48));
  config.page_size = draw.pick(std::array{8, 16, 16, 16, 32, 64});
  config.kv_dtype = draw.uniform(0, 1) < 0.75 ? DType::bf16 : DType::fp8_e4m3;
}

void draw_attention(Draw& draw, DecodeConfig& config) {
  LlmSpec& llm = config.llm;
  llm.name = "calibration";
  llm.model_type = "llama";
  llm.hidden_size = llm.intermediate_size = 512;
  llm.vocab_size = 8192;
  llm.num_layers = kMinLayers;
  llm.layer_is_moe.assign(kMinLayers, 0);
  llm.head_dim = draw.pick(std::array{64, 128});
  llm.num_kv_heads = draw.pick(std::array{1, 2, 3, 4, 5, 8, 8, 8, 16, 32});
  llm.num_q_heads = llm.num_kv_heads * draw.pick(std::array{1, 2, 3, 4, 4, 5, 7, 8, 8, 16});
  llm.max_position = 1 << 20;
  config.window = draw.pick(std::array{1, 1, 1, 2, 2, 3, 4, 4, 6, 8, 8, 12, 16, 16, 32});
  config.batch = rounded(draw.log_uniform(1, 128), 1);
  config.policy = make_policy("quest", {.budget = draw.log_uniform(0.03, 0.95)});
  config.dense_layers = 1;
  config.context = rounded(draw.log_uniform(512, 131072), 64) + static_cast<std::int64_t>(draw.uniform(0, 48));
  config.page_size = draw.pick(std::array{8, 16, 16, 32, 64});
  config.kv_dtype = draw.uniform(0, 1) < 0.5 ? DType::bf16 : DType::fp8_e4m3;
}

/// Tokens per KV head that an attention of the last layer loads.
std::int64_t loaded_tokens(const DecodeConfig& config) {
  return config.policy->pages_selected(config.num_pages(), config.page_size) * config.page_size;
}

}  // namespace

double device_bytes(const CalibrationCase& one) {
  const DecodeConfig& config = one.config;
  const double layer = weight_bytes_of_layer(config.llm) +
                       kv_bytes_of_layer(config, config.context + 512) * (1 + 2.0 / config.page_size);  // summaries
  return config.llm.num_layers * layer + 4.0 * config.llm.vocab_size * config.llm.hidden_size;
}

CalibrationCase calibration_case(int index, std::uint64_t seed, const GpuSpec& gpu) {
  Draw draw(seed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(index));
  while (true) {
    CalibrationCase one{.index = index, .config = {}};
    DecodeConfig& config = one.config;
    one.attention_alone = index >= kFirstAttentionCase;
    if (one.attention_alone) {
      draw_attention(draw, config);
    } else {
      draw_shape(draw, config.llm);
      draw_batch(draw, index, config);
    }
    config.sm_count = gpu.sm_count;
    config.merges_in_attention = true;
    config.few_row_products = true;
    one.seen_share = 1 - draw.log_uniform(0.03, 0.9);
    if (one.attention_alone && config.window > 1) {
      for (int i = 0; i < 2; ++i) one.more_seen_shares.push_back(1 - draw.log_uniform(0.03, 0.9));
    }
    const double weights = weight_bytes_of_layer(config.llm);
    const double loaded = kv_bytes_of_layer(config, loaded_tokens(config));
    const double traffic = weights + loaded;
    const double rotated = one.attention_alone ? kAttentionL2Multiples * static_cast<double>(gpu.l2_bytes) / loaded
                                               : kL2Multiples * static_cast<double>(gpu.l2_bytes) / weights;
    const double layers = std::ceil(rotated) + (one.attention_alone ? config.dense_layers : 0);
    config.llm.num_layers = static_cast<int>(std::clamp<double>(layers, kMinLayers, kMaxLayers));
    const auto fits = [&] {
      return device_bytes(one) <= kMemoryShare * static_cast<double>(gpu.hbm_capacity_bytes) &&
             config.llm.num_layers * traffic <= kSlowestPassS * gpu.hbm_bandwidth_bytes_per_s;
    };
    while (config.llm.num_layers > kMinLayers && !fits()) --config.llm.num_layers;
    config.llm.layer_is_moe.assign(static_cast<std::size_t>(config.llm.num_layers), 0);
    const bool has_rows = config.batch * config.window <= 2048;
    const bool window_fits = config.window * config.llm.query_group() <= 256;
    if (fits() && has_rows && window_fits) return one;
  }
}

}  // namespace retrosim
