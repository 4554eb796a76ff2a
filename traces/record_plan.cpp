#include "traces/record_plan.h"

#include <xxhash.h>

#include <array>
#include <cstdio>
#include <limits>

#include "kernels/checkpoint/mapped_file.h"
#include "model/error.h"
#include "model/json_reader.h"

namespace retrosim {
namespace {

std::string hash_of(const void* data, std::size_t size) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "xxh3:%016llx", static_cast<unsigned long long>(XXH3_64bits(data, size)));
  return text.data();
}

std::string hash_of_file(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  return hash_of(mapped.bytes().data(), mapped.bytes().size());
}

std::vector<int> recorded_layers(const LlmSpec& llm, const std::vector<int>& asked) {
  const auto slides = [&llm](int layer) {
    return !llm.layer_sliding_window.empty() && llm.layer_sliding_window[static_cast<std::size_t>(layer)] > 0;
  };
  std::vector<int> layers = asked;
  if (layers.empty()) {
    for (int layer = 0; layer < llm.num_layers; ++layer) {
      if (!slides(layer)) layers.push_back(layer);
    }
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= llm.num_layers || (i > 0 && layers[i] <= layers[i - 1]) || slides(layers[i])) {
      throw InputError("", "layers", std::to_string(layers[i]),
                       "ascending layers below " + std::to_string(llm.num_layers) + " without a sliding window");
    }
  }
  if (layers.empty()) throw InputError("", "layers", "none", "a layer without a sliding window");
  return layers;
}

// FLOPs of the forward pass over positions [first, last): linear maps and attention.
double work(const LlmSpec& llm, std::int64_t first, std::int64_t last) {
  double params = 0;
  for (int layer = 0; layer < llm.num_layers; ++layer) params += static_cast<double>(llm.active_params_of_layer(layer));
  const auto pairs = static_cast<double>(last - first) * static_cast<double>(last + first + 1) / 2;
  return 2 * params * static_cast<double>(last - first) + 4.0 * llm.num_layers * llm.num_q_heads * llm.head_dim * pairs;
}

TraceHeader header_of(const LlmSpec& llm, const std::filesystem::path& checkpoint, const TokensFile& tokens,
                      const RecordOptions& options, const std::vector<int>& layers, std::int64_t end) {
  const auto folder_name = std::filesystem::weakly_canonical(checkpoint).filename().string();
  TraceHeader header;
  header.tool_version = options.tool_version;
  header.model_name = options.model_name.empty() ? folder_name : options.model_name;
  header.config_hash = hash_of_file(checkpoint / "config.json");
  header.checkpoint_hash = hash_of_file(checkpoint / "model.safetensors");
  header.num_layers = llm.num_layers;
  header.recorded_layers = layers;
  header.num_q_heads = llm.num_q_heads;
  header.num_kv_heads = llm.num_kv_heads;
  header.head_dim = llm.head_dim;
  header.page_size = options.page_size;
  header.top_m = options.top_m;
  header.num_tokens = end;
  header.prompt_tokens = options.first_position;
  header.tokens_hash = hash_of(tokens.tokens.data(), static_cast<std::size_t>(end) * sizeof(std::int32_t));
  header.prompt_hash =
      hash_of(tokens.tokens.data(), static_cast<std::size_t>(options.first_position) * sizeof(std::int32_t));
  header.first_position = options.first_position;
  header.workload = options.workload.empty() ? tokens.source : options.workload;
  return header;
}

}  // namespace

TokensFile load_tokens(const std::filesystem::path& file) {
  const nlohmann::json document = read_json_file(file);
  const JsonReader reader(document, file.string());
  TokensFile tokens;
  for (const std::int64_t token : reader.integers("tokens", 0, std::numeric_limits<std::int32_t>::max())) {
    tokens.tokens.push_back(static_cast<std::int32_t>(token));
  }
  tokens.source = reader.string_or("source", "");
  tokens.tokenizer = reader.string_or("tokenizer", "");
  reader.finish();
  if (tokens.tokens.empty()) reader.fail("tokens", "at least one token id");
  return tokens;
}

RecordPlan plan_recording(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                          const RecordOptions& options) {
  RecordPlan plan{.tokens = load_tokens(tokens_file), .weights = {}, .layers = {}, .header = {}};
  const auto available = static_cast<std::int64_t>(plan.tokens.tokens.size());
  if (options.first_position < 0 || options.first_position >= available) {
    throw InputError(tokens_file.string(), "first position", std::to_string(options.first_position),
                     "0 to " + std::to_string(available - 1) + " (the file's tokens)");
  }
  plan.steps = options.steps > 0 ? options.steps : available - options.first_position;
  plan.end = options.first_position + plan.steps;
  if (options.steps < 0 || plan.end > available) {
    throw InputError(tokens_file.string(), "steps", std::to_string(options.steps),
                     "1 to " + std::to_string(available - options.first_position) + ", or 0 for all");
  }
  if (options.page_size < 1 || options.page_size > 1024) {
    throw InputError("", "page_size", std::to_string(options.page_size), "1 to 1024 tokens");
  }
  if (options.chunk_tokens < 1) throw InputError("", "chunk", std::to_string(options.chunk_tokens), "at least 1 token");
  if (options.top_m < 0) throw InputError("", "top_m", std::to_string(options.top_m), "0 (all) or a number of pages");

  plan.weights = load_llm_weights(checkpoint);
  plan.layers = recorded_layers(plan.weights.llm, options.layers);
  plan.header = header_of(plan.weights.llm, checkpoint, plan.tokens, options, plan.layers, plan.end);
  return plan;
}

double share_done(const LlmSpec& llm, std::int64_t position, std::int64_t end) {
  return work(llm, 0, position) / work(llm, 0, end);
}

}  // namespace retrosim
