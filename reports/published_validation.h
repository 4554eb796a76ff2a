// Published figures against what the simulation says of the same configurations.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/published_question.h"

namespace retrosim {

struct PublishedComparison {
  PublishedRow row;
  PublishedCase question;
  double predicted = 0;  // in the unit of question.value

  double relative_error() const { return predicted / question.value - 1; }
};

struct PublishedValidation {
  std::string file;
  std::vector<PublishedComparison> compared;  // latencies, rates and speed-ups
  std::vector<PublishedComparison> sizes;     // bytes of caches and indices
  std::vector<PublishedComparison> derived;   // rows that a parameter was derived from: they prove nothing
  std::vector<std::pair<PublishedRow, Unmapped>> unmapped;
};

/// Share with an absolute relative error of at most a quarter, and the median of it; 0 when there are none.
double within_25(const std::vector<PublishedComparison>& comparisons);
double median_abs_error(const std::vector<PublishedComparison>& comparisons);

/// Simulates every row that can be mapped, on the bundled profile of its GPU: the mean of 4 steps, so that selections
/// that serve several steps are averaged. Throws InputError when the file cannot be read.
PublishedValidation validate_published(const std::filesystem::path& file);

/// Schema retrosim.validate-published/2: rows, mapped, within_25 and median_abs_error over the compared rows (of which
/// by_source gives the same per paper), then compared, sizes, derived, and unmapped with reasons.
Json published_validation_json(const PublishedValidation& validation);

/// Ours and theirs, row by row, and the reasons of what is not compared, as Markdown.
std::string published_validation_markdown(const PublishedValidation& validation);

}  // namespace retrosim
