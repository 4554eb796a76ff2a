// One recorded layer's rankings, step by step, chunk by chunk.
#pragma once

#include <cstdint>

#include "traces/trace_reader.h"

namespace retrosim {

/// Calls visit(head, step, ranking) for the KV heads of recorded_layers[slot] over `num_steps` steps from `first_step`
/// of the trace. `step` counts from 0 there and ascends for each head; of a chunk, one head comes after the other. The
/// ranking is valid during the call.
template <typename Visit>
void for_each_ranking(const TraceReader& trace, int slot, std::int64_t first_step, std::int64_t num_steps,
                      Visit visit) {
  LayerColumns decoded;
  for (std::int64_t chunk = trace.chunk_of_step(first_step); chunk < trace.num_chunks(); ++chunk) {
    if (trace.chunk(chunk).first_step >= first_step + num_steps) break;
    trace.read_layer(chunk, slot, decoded);
    for (int head = 0; head < trace.header().num_kv_heads; ++head) {
      for (std::int64_t s = 0; s < decoded.num_steps(); ++s) {
        const std::int64_t step = decoded.first_step() + s - first_step;
        if (step >= 0 && step < num_steps) visit(head, step, decoded.at(s, head));
      }
    }
  }
}

}  // namespace retrosim
