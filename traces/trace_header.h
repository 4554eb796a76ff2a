// What an .rtrace file says about itself: the model, the tokens and the rules under which it was recorded.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "traces/mass_scale.h"

namespace retrosim {

/// Limits that a trace must keep, so that a damaged or crafted file cannot ask for absurd amounts of memory.
inline constexpr std::int64_t kMaxTracePosition = (std::int64_t{1} << 24) - 1;  // tokens
inline constexpr int kMaxTraceLayers = 1024;
inline constexpr int kMaxTraceHeads = 1024;

struct TraceHeader {
  std::string tool_version;          // program that wrote the file, e.g. "retrosim 0.1.0"
  std::string model_name;            // e.g. "SmolLM2-135M"
  std::string config_hash;           // of config.json, "<algorithm>:<hex>"
  std::string checkpoint_hash;       // of the weights
  int num_layers = 0;                // of the model
  std::vector<int> recorded_layers;  // ascending layer indices
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int page_size = 16;      // tokens
  std::int64_t top_m = 0;  // ranked pages listed per step and KV head; 0: all
  std::string scoring_rule = "quest_min_max";
  std::string group_reduction = "max";   // how the scores of a KV head's query heads become one
  std::string recorded_policy = "full";  // under which the model decoded while it was recorded
  std::int64_t num_tokens = 0;           // of the recorded sequence, prompt included
  std::int64_t prompt_tokens = 0;
  std::string tokens_hash;          // of the token ids
  std::string prompt_hash;          // of the prompt's token ids
  std::int64_t first_position = 0;  // position, from 0, of the first recorded step's query; steps follow one by one
  std::string workload;             // one sentence: what text this is
  std::string mass_scale = std::string(kMassScaleName);  // quantisation of attention mass, see mass_scale.h
  // Empty for a recorded trace; of a synthetic one how far it was tested (synthesis/held_out.h), never to be hidden.
  std::string synthetic = {};

  /// Pages of the context when the query stands at `position`.
  std::int64_t num_pages(std::int64_t position) const { return position / page_size + 1; }
  /// Pages listed per head then: all, or the best top_m.
  std::int64_t listed_pages(std::int64_t position) const {
    const std::int64_t pages = num_pages(position);
    return top_m > 0 && top_m < pages ? top_m : pages;
  }
  /// Index of `layer` in recorded_layers, or -1.
  int slot_of_layer(int layer) const;

  friend bool operator==(const TraceHeader&, const TraceHeader&) = default;
};

nlohmann::ordered_json to_json(const TraceHeader& header);

/// Reads the JSON header strictly; `origin` names the file in errors. Throws InputError for an unknown or missing key,
/// another schema, or values that contradict each other.
TraceHeader parse_trace_header(std::string_view json_text, const std::string& origin);

}  // namespace retrosim
