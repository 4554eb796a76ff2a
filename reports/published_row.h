// One figure that somebody published about decoding under a KV policy, and the configuration that it describes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "model/decode_config.h"

namespace retrosim {

/// As the table has it; text throughout.
struct PublishedRow {
  std::string row;  // number
  std::string policy;
  std::string model;
  std::string gpu;
  std::string context;
  std::string batch;
  std::string budget;
  std::string metric;
  std::string value;
  std::string unit;
  std::string evidence;
  std::string source;
};

/// What of a simulated step the figure is compared with.
enum class PublishedMetric : std::uint8_t {
  step_latency_ms,
  tokens_per_s,        // batch / step latency
  layer_attention_us,  // selection, attention and merge of one sparse layer
};

struct PublishedCase {
  DecodeConfig config;
  std::string gpu;  // bundled name
  PublishedMetric metric = PublishedMetric::step_latency_ms;
  double value = 0;                      // in the metric's unit
  std::vector<std::string> assumptions;  // what the row leaves open and was chosen here
};

/// Why a row is not compared.
struct Unmapped {
  std::string reason;
};

/// Reads a comma-separated table with quoted cells whose header names the members of PublishedRow. Throws InputError
/// naming file, line and what was expected.
std::vector<PublishedRow> read_published_rows(const std::filesystem::path& file);

std::variant<PublishedCase, Unmapped> map_published_row(const PublishedRow& row);

}  // namespace retrosim
