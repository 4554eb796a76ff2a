#include "sim/serving/serving_config.h"

#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

void require(bool holds, std::string_view field, const std::string& value, std::string_view expectation) {
  if (!holds) throw InputError("", field, value, expectation);
}

}  // namespace

Routing parse_routing(std::string_view text) {
  if (text == "round-robin") return Routing::round_robin;
  if (text == "least-loaded") return Routing::least_loaded;
  if (text == "session-affinity") return Routing::session_affinity;
  if (text == "prefix-aware") return Routing::prefix_aware;
  throw InputError("", "routing", text, "round-robin, least-loaded, session-affinity or prefix-aware");
}

std::string_view name_of(Routing routing) {
  switch (routing) {
    case Routing::round_robin: return "round-robin";
    case Routing::least_loaded: return "least-loaded";
    case Routing::session_affinity: return "session-affinity";
    case Routing::prefix_aware: return "prefix-aware";
  }
  return "";
}

void validate(const ServingConfig& config) {
  require(config.num_replicas >= 1 && config.num_replicas <= 4096, "replicas", std::to_string(config.num_replicas),
          "in [1, 4096]");
  require(config.max_num_seqs >= 1 && config.max_num_seqs <= 65536, "max_num_seqs", std::to_string(config.max_num_seqs),
          "in [1, 65536]");
  require(config.max_num_batched_tokens >= config.decode.window && config.max_num_batched_tokens <= 1 << 20,
          "max_num_batched_tokens", std::to_string(config.max_num_batched_tokens),
          "at least the window's rows and at most 1048576");
  require(config.max_model_len >= 0 && config.max_model_len <= config.decode.llm.max_position, "max_model_len",
          std::to_string(config.max_model_len),
          "at most the model's " + std::to_string(config.decode.llm.max_position) + " tokens");
  require(config.gpu_memory_utilization > 0 && config.gpu_memory_utilization <= 1, "gpu_memory_utilization",
          std::to_string(config.gpu_memory_utilization), "in (0, 1]");
  require(config.activation_bytes.value_or(0) >= 0, "activation_bytes",
          std::to_string(config.activation_bytes.value_or(0)), "at least 0");
  require(config.runtime_bytes >= 0, "runtime_bytes", std::to_string(config.runtime_bytes), "at least 0");
  require(config.driver_reserved_bytes >= 0, "driver_reserved_bytes", std::to_string(config.driver_reserved_bytes),
          "at least 0");
  require(config.num_blocks_override.value_or(1) >= 1 && config.num_blocks_override.value_or(1) <= 1LL << 40,
          "num_gpu_blocks_override", std::to_string(config.num_blocks_override.value_or(1)), "at least 1");
  require(config.step_overhead_s >= 0 && config.step_overhead_s <= 10, "step_overhead_us",
          std::to_string(config.step_overhead_s * 1e6), "in [0, 1e7]");
  require(config.prefix_caching || config.routing != Routing::prefix_aware, "routing", "prefix-aware",
          "prefix caching on");
  const UnseenShare& unseen = config.unseen;
  require(unseen.visits >= 0 && unseen.in_union >= 0 && unseen.in_union <= 1 && unseen.in_union <= unseen.visits,
          "unseen", std::to_string(unseen.visits), "shares with 0 <= union <= visits, union <= 1");
  DecodeConfig one = config.decode;
  one.batch = 1;
  one.context = 1;
  validate(one);
}

}  // namespace retrosim
