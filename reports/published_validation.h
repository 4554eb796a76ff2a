// Published figures against what the simulation says of the same configurations.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/published_row.h"

namespace retrosim {

struct PublishedComparison {
  PublishedRow row;
  PublishedCase question;
  double predicted = 0;  // in the unit of question.value

  double relative_error() const { return predicted / question.value - 1; }
};

struct PublishedValidation {
  std::string file;
  std::vector<PublishedComparison> compared;
  std::vector<std::pair<PublishedRow, Unmapped>> unmapped;

  /// Shares and medians over the compared rows; 0 when there are none.
  double within_25() const;
  double median_abs_error() const;
};

/// Simulates every row that can be mapped, on the bundled profile of its GPU: the mean of 4 steps, so that selections
/// that serve several steps are averaged. Throws InputError when the file cannot be read.
PublishedValidation validate_published(const std::filesystem::path& file);

/// Schema retrosim.validate-published/1: rows, mapped, within_25, median_abs_error, compared, unmapped with reasons.
Json published_validation_json(const PublishedValidation& validation);

}  // namespace retrosim
