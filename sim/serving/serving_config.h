// What is served, by how many replicas, under which scheduler.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/decode_config.h"
#include "model/gpu_profile.h"
#include "sim/mean_demand.h"

namespace retrosim {

enum class Routing : std::uint8_t {
  round_robin,
  least_loaded,      // fewest queued and running requests
  session_affinity,  // a session's later turns go where its first went, the rest to the least loaded
  prefix_aware,      // where the longest prefix of the prompt is cached; none: the least loaded
};

/// Throws InputError listing the names: round-robin, least-loaded, session-affinity, prefix-aware.
Routing parse_routing(std::string_view text);
std::string_view name_of(Routing routing);

struct ServingConfig {
  DecodeConfig decode;  // model, policy, window, page size, TP, dtypes; its batch and context are not used
  UnseenShare unseen;   // zero for window 1
  int num_replicas = 1;
  Routing routing = Routing::least_loaded;

  // The scheduler, by vLLM's names.
  int max_num_seqs = 256;
  std::int64_t max_num_batched_tokens = 2048;  // rows of one step: prompt tokens, and `window` per decoding sequence
  std::int64_t max_model_len = 0;              // tokens; 0: the model's
  bool async_scheduling = false;    // schedule a step while the one before runs (vLLM's default from v0.14 on)
  bool cudagraph_padding = false;   // decode steps run at the next captured size (cudagraph_rows.h; vLLM's default)
  bool prefix_caching = false;      // keep the KV of ended sequences while nobody needs the blocks (vLLM's default)
  bool reserve_full_prompt = true;  // admit a request only when blocks for its whole prompt are free, not for a chunk

  // GPU memory, as vLLM shares it out (kv_blocks.h).
  double gpu_memory_utilization = 0.9;
  std::optional<std::int64_t> activation_bytes;      // per GPU; default: default_activation_bytes()
  std::int64_t runtime_bytes = 256LL << 20;          // per GPU: what vLLM logs as non-torch memory
  std::int64_t driver_reserved_bytes = 512LL << 20;  // per GPU: of the datasheet's capacity, what CUDA does not offer
  std::optional<std::int64_t> num_blocks_override;   // KV blocks per replica, instead of what memory allows

  // Host time between the end of a step and the launch of the next, added to every step.
  double step_overhead_s = 0;
  bool exact_steps = false;  // simulate the step graph of every step instead of interpolating between contexts

  std::int64_t context_limit() const { return max_model_len > 0 ? max_model_len : decode.llm.max_position; }
};

/// Throws InputError naming the field.
void validate(const ServingConfig& config);

}  // namespace retrosim
