// What a recording is of: checked before any work, the same for every recorder.
#pragma once

#include <filesystem>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"
#include "traces/record.h"
#include "traces/trace_header.h"

namespace retrosim {

struct RecordPlan {
  TokensFile tokens;
  LlmWeights weights;
  std::vector<int> layers;  // recorded ones, ascending
  std::int64_t steps = 0;
  std::int64_t end = 0;  // tokens that run through the model: the prompt and the recorded steps
  TraceHeader header;
};

/// Reads the checkpoint and the tokens. Throws InputError as record_trace() does.
RecordPlan plan_recording(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                          const RecordOptions& options);

/// Share of the whole recording's floating-point operations that the first `position` tokens take.
double share_done(const LlmSpec& llm, std::int64_t position, std::int64_t end);

}  // namespace retrosim
