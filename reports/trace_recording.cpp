#include "reports/trace_recording.h"

#include "reports/format.h"

namespace retrosim {

std::string progress_text(const RecordProgress& progress, const RecordOptions& options) {
  std::string text = std::to_string(progress.tokens_done) + " of " + std::to_string(progress.tokens_total) +
                     " tokens, " + std::to_string(progress.steps_recorded);
  if (options.steps > 0) text += " of " + std::to_string(options.steps);
  return text + " steps recorded, " + fixed(progress.elapsed_s, 1) + " s, " + fixed(progress.eta_s, 0) + " s to go";
}

Json recording_document(const RecordResult& result, const std::string& out) {
  return {{"schema", "retrosim.trace_record/1"}, {"file", out},
          {"num_steps", result.steps},           {"prompt_s", result.prompt_s},
          {"recording_s", result.recording_s},   {"tokens_per_s", result.tokens_per_s()}};
}

std::string recording_text(const RecordResult& result, const std::string& out) {
  return out + ": " + std::to_string(result.steps) + " steps in " + fixed(result.recording_s, 1) + " s (" +
         fixed(result.tokens_per_s(), 1) + " tokens/s), after " + fixed(result.prompt_s, 1) + " s for the prompt\n";
}

}  // namespace retrosim
