// `retrosim trace synthesize`: fits, tests against unseen recorded steps where asked to, writes.
#pragma once

#include <string>
#include <vector>

#include "reports/json_text.h"
#include "traces/synthesis/held_out.h"
#include "traces/synthesis/synthesize.h"

namespace retrosim {

struct TraceSynthesisRequest {
  std::vector<std::string> from;
  std::string out;
  bool held_out = false;
  SynthesisOptions options;
};

struct TraceSynthesisAnswer {
  TraceSynthesisRequest request;
  SynthesisResult result;
  std::vector<HeldOutTest> tests;  // [from], of `held_out`
};

/// Throws InputError as synthesize() and held_out_test() do.
TraceSynthesisAnswer run_trace_synthesis(const TraceSynthesisRequest& request);

/// Schema retrosim.trace_synthesize/1: inputs, out, label, fitted_steps, factor_share_mean, and held_out
/// [{file, fitted_steps, unseen_steps, worst_gap, statistics: [{statistic, recorded, synthetic, gap}]}].
Json trace_synthesis_document(const TraceSynthesisAnswer& answer);
std::string trace_synthesis_text(const TraceSynthesisAnswer& answer);

}  // namespace retrosim
