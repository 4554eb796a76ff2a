// `retrosim validate ops` as JSON and CSV.
#pragma once

#include <string>

#include "calibrate/op_validation.h"
#include "reports/json_text.h"

namespace retrosim {

/// Schema retrosim.validate-ops/1: rows, mape, median_abs_error, bias, p95_abs_error over the compared rows, the same
/// by regime, each beside the naive roofline's; rows_left_out with the reasons and how many each. Errors of no row at
/// all are null.
Json op_validation_json(const OpValidation& validation);

/// label,regime,measured_us,predicted_us,naive_us,relative_error
std::string op_validation_csv(const OpValidation& validation);

}  // namespace retrosim
