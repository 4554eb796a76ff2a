// One configuration that the live decoder runs, and what it is compared with: the same decode in the simulator.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "model/decode_config.h"
#include "model/json_reader.h"
#include "model/step_graph.h"

namespace retrosim {

/// Where the ranking of pages comes from.
enum class LiveSelection : std::uint8_t {
  scores,  // the layers' own page scores
  drift,   // given scores, each a first-order autoregression, so that neighbouring steps select alike as text does
  trace,   // a recorded trace
};
std::string_view name_of(LiveSelection selection);

struct LiveConfig {
  std::string id;                    // unique in a file of results
  std::string group;                 // what it belongs to, e.g. "grid", "policies", "closed_loop"
  std::string llm = "llama-3.1-8b";  // bundled name or config.json
  int layers = 0;                    // run this many of the model's layers; 0: all
  std::string policy = "quest";
  int window = 1;
  double budget = 0.15;
  std::int64_t batch = 1;
  std::int64_t context = 32768;  // tokens of each sequence at the middle of the timed steps
  int page_size = 16;
  int dense_layers = 2;
  DType kv_dtype = DType::bf16;
  LiveSelection selection = LiveSelection::scores;
  double correlation = 0.955;       // of a page's given score from step to step
  std::int64_t prefetch_bytes = 0;  // copied from host memory beside the step, on a stream of its own
  std::uint64_t seed = 1;
  bool merges_in_attention = true;  // of the kernels that ran; false in results of earlier ones
};

/// The decode that runs and that is simulated: the model with only its first `layers` layers. Throws InputError for an
/// unknown model, policy or dtype, or more layers than there are.
DecodeConfig decode_config(const LiveConfig& live, int sm_count);

/// The demand without unseen pages at `context`, such that the graph has every operation that a step may need, the
/// recall of pages included.
StepDemand graph_demand(const DecodeConfig& config, std::int64_t context);

/// The step's graph: build_decode_step() and, where `prefetch_bytes` asks for it, a copy "page_prefetch" that nothing
/// waits for.
StepGraph live_graph(const DecodeConfig& config, const StepDemand& demand, std::int64_t prefetch_bytes);

/// Bytes of device memory: weights, caches, summaries, activations.
double device_bytes(const DecodeConfig& config);

/// Of the bytes that the step moves through HBM, the share that is keys, values and their summaries.
double kv_traffic_share(const DecodeConfig& config);

nlohmann::ordered_json to_json(const LiveConfig& config);
LiveConfig read_live_config(const JsonReader& reader);

}  // namespace retrosim
