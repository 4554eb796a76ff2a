// `retrosim fidelity`: the measured distributions as a document and as a page.
#pragma once

#include <string>

#include "reports/json_text.h"
#include "traces/fidelity.h"

namespace retrosim {

struct FidelityRequest {
  std::string checkpoint;
  std::string tokens;
  FidelityOptions options;
  bool per_step = false;  // the document holds every step's figures too: the raw samples
};

/// Schema retrosim.fidelity/1: `inputs`, times, and per budget and variant the means with 95 % block-bootstrap
/// intervals, the ratio of mean KL to Quest's at the same budget, and the course over generated length in eighths.
Json fidelity_document(const FidelityRequest& request, const FidelityResult& result);
std::string fidelity_text(const FidelityRequest& request, const FidelityResult& result);

}  // namespace retrosim
