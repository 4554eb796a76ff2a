// The step graph of a step that decodes some sequences and prefills chunks of others.
#pragma once

#include "model/step_graph.h"
#include "sim/serving/step_shape.h"

namespace retrosim {

/// All chunks of a step run as one launch of `prefill_chunks` equal chunks that have the same tokens (rounded up) and
/// the same (query, key) pairs (rounded down) as the chunks together. Requires prefill_chunks > 0.
struct EqualChunks {
  explicit EqualChunks(const StepShape& shape);
  std::int64_t count = 0;
  std::int64_t new_tokens = 0;      // per chunk
  std::int64_t context_before = 0;  // per chunk
};

/// `op` of a decode step with `tokens` prompt tokens (rows) of `chunks` sequences joined to it: row-wise operations
/// take the rows, the LM head and sampling take one per chunk, attention over cached pages stays as it is.
Op with_prefill_rows(const Op& op, const DecodeConfig& config, std::int64_t tokens, std::int64_t chunks);

/// The prefill attention of `layer` for the chunks of `shape`.
PrefillAttentionShape prefill_attention_of(const DecodeConfig& config, int layer, const StepShape& shape);

/// Graph of a step with decodes > 0 and prefill_tokens > 0: `decode` (the graph of its decoding sequences) with the
/// rows joined and one prefill attention per layer behind the merge of decode attention, as vLLM runs a mixed batch.
StepGraph join_prefill(const StepGraph& decode, const DecodeConfig& config, const StepShape& shape);

}  // namespace retrosim
