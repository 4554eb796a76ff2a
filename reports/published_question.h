// The configuration and the quantity that a published figure is compared with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/decode_config.h"
#include "reports/published_row.h"

namespace retrosim {

/// What of the simulation the figure is compared with. "Layer": the last one, its selection, attention and merge.
enum class PublishedMetric : std::uint8_t {
  step_latency_ms,
  tokens_per_s,             // batch / step latency
  generation_tokens_per_s,  // batch * output tokens / (prefill + decode steps at the mean context)
  layer_attention_us,
  layer_page_score_us,
  page_score_ms,          // all layers
  step_speedup,           // baseline's step / this one's
  layer_speedup,          // baseline's layer / this one's
  page_score_over_layer,  // this one's page scoring / baseline's layer
  gpu_kv_gb,              // per sequence; 1e9 bytes
  host_index_gb,          // per sequence; 1e9 bytes
};

/// False for sizes: shares within an error are counted over latencies, rates and speed-ups.
bool is_time(PublishedMetric metric);

struct PublishedCase {
  DecodeConfig config;
  std::optional<DecodeConfig> baseline;  // what a ratio is over
  std::string gpu;                       // bundled name
  PublishedMetric metric = PublishedMetric::step_latency_ms;
  double value = 0;                      // in the metric's unit
  std::int64_t output_tokens = 0;        // of generation_tokens_per_s; the prompt is context - output_tokens / 2
  std::vector<std::string> assumptions;  // what the row leaves open and was chosen here
  std::string derives;                   // parameter that was derived from this row, so that it proves nothing; else ""
};

/// Why a row is not compared.
struct Unmapped {
  std::string reason;
};

std::variant<PublishedCase, Unmapped> map_published_row(const PublishedRow& row);

}  // namespace retrosim
