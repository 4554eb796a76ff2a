// The tables of a report, for documents and spreadsheets.
#pragma once

#include <string>

#include "reports/study.h"

namespace retrosim {

/// Comparison, operations, and one table per sweep, under headings.
std::string study_markdown(const Study& study);

/// One row per simulated point and variant, units in the column names.
std::string study_csv(const Study& study);

}  // namespace retrosim
