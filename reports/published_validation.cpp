#include "reports/published_validation.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "reports/format.h"
#include "reports/published_prediction.h"

namespace retrosim {
namespace {

constexpr double kQuarter = 0.25;

/// "Quest ICML24 Fig 10" -> "Quest": the paper or repository that the figure is from.
std::string source_group(const std::string& source) { return source.substr(0, source.find_first_of(" ,(")); }

Json row_json(const PublishedRow& row) {
  return {{"row", row.row},         {"policy", row.policy}, {"model", row.model},       {"gpu", row.gpu},
          {"context", row.context}, {"batch", row.batch},   {"budget", row.budget},     {"metric", row.metric},
          {"value", row.value},     {"unit", row.unit},     {"evidence", row.evidence}, {"source", row.source}};
}

Json comparisons_json(const std::vector<PublishedComparison>& comparisons) {
  Json list = Json::array();
  for (const PublishedComparison& comparison : comparisons) {
    Json entry = row_json(comparison.row);
    entry["published"] = comparison.question.value;
    entry["predicted"] = comparison.predicted;
    entry["relative_error"] = comparison.relative_error();
    entry["profile_gpu"] = comparison.question.gpu;
    entry["policy_variant"] = name_of(comparison.question.config.policy->variant());
    entry["implementation"] = comparison.question.config.implementation.name;
    entry["assumptions"] = comparison.question.assumptions;
    if (!comparison.question.derives.empty()) entry["derives"] = comparison.question.derives;
    list.push_back(std::move(entry));
  }
  return list;
}

Json by_source_json(const std::vector<PublishedComparison>& comparisons) {
  std::map<std::string, std::vector<PublishedComparison>> groups;
  for (const PublishedComparison& comparison : comparisons) {
    groups[source_group(comparison.row.source)].push_back(comparison);
  }
  Json list = Json::array();
  for (const auto& [source, group] : groups) {
    list.push_back({{"source", source},
                    {"mapped", group.size()},
                    {"within_25", within_25(group)},
                    {"median_abs_error", median_abs_error(group)}});
  }
  return list;
}

std::string three_digits(double value) { return fixed(value, value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3); }

std::string markdown_cell(const std::string& text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string comparisons_markdown(const std::vector<PublishedComparison>& comparisons) {
  std::string text =
      "| row | policy | model | GPU | context | batch | budget | figure | theirs | ours | error |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | ---: | ---: | ---: |\n";
  for (const PublishedComparison& comparison : comparisons) {
    const PublishedRow& row = comparison.row;
    for (const std::string* cell :
         {&row.row, &row.policy, &row.model, &row.gpu, &row.context, &row.batch, &row.budget}) {
      text += "| " + markdown_cell(*cell) + " ";
    }
    text += "| " + markdown_cell(row.metric + (row.unit.empty() ? "" : ", " + row.unit)) + " | " +
            markdown_cell(row.value) + " | " + three_digits(comparison.predicted) + " | " +
            format_change(comparison.predicted, comparison.question.value) + " |\n";
  }
  return text + "\n";
}

}  // namespace

double within_25(const std::vector<PublishedComparison>& comparisons) {
  if (comparisons.empty()) return 0;
  const auto within = std::ranges::count_if(comparisons, [](const PublishedComparison& comparison) {
    return std::abs(comparison.relative_error()) <= kQuarter;
  });
  return static_cast<double>(within) / static_cast<double>(comparisons.size());
}

double median_abs_error(const std::vector<PublishedComparison>& comparisons) {
  std::vector<double> errors;
  for (const PublishedComparison& comparison : comparisons) errors.push_back(std::abs(comparison.relative_error()));
  if (errors.empty()) return 0;
  std::ranges::sort(errors);
  const std::size_t half = errors.size() / 2;
  return errors.size() % 2 == 1 ? errors[half] : (errors[half - 1] + errors[half]) / 2;
}

PublishedValidation validate_published(const std::filesystem::path& file) {
  PublishedValidation validation{.file = file.string(), .compared = {}, .sizes = {}, .derived = {}, .unmapped = {}};
  std::map<std::string, GpuProfile> profiles;
  for (const PublishedRow& row : read_published_rows(file)) {
    const auto mapping = map_published_row(row);
    if (const auto* unmapped = std::get_if<Unmapped>(&mapping)) {
      validation.unmapped.emplace_back(row, *unmapped);
      continue;
    }
    const auto& question = std::get<PublishedCase>(mapping);
    auto profile = profiles.find(question.gpu);
    if (profile == profiles.end()) profile = profiles.emplace(question.gpu, find_gpu_profile(question.gpu)).first;
    PublishedComparison comparison{row, question, predict_published(question, profile->second)};
    auto& list = !question.derives.empty()  ? validation.derived
                 : is_time(question.metric) ? validation.compared
                                            : validation.sizes;
    list.push_back(std::move(comparison));
  }
  return validation;
}

Json published_validation_json(const PublishedValidation& validation) {
  Json unmapped = Json::array();
  for (const auto& [row, why] : validation.unmapped) {
    Json entry = row_json(row);
    entry["reason"] = why.reason;
    unmapped.push_back(std::move(entry));
  }
  const std::size_t rows =
      validation.compared.size() + validation.sizes.size() + validation.derived.size() + validation.unmapped.size();
  return {{"schema", "retrosim.validate-published/2"},
          {"measured", validation.file},
          {"rows", rows},
          {"mapped", validation.compared.size()},
          {"within_25", within_25(validation.compared)},
          {"median_abs_error", median_abs_error(validation.compared)},
          {"by_source", by_source_json(validation.compared)},
          {"compared", comparisons_json(validation.compared)},
          {"sizes", comparisons_json(validation.sizes)},
          {"derived", comparisons_json(validation.derived)},
          {"unmapped", std::move(unmapped)}};
}

std::string published_validation_markdown(const PublishedValidation& validation) {
  std::string text = "Latencies, rates and speed-ups: " + std::to_string(validation.compared.size()) +
                     " figures, within a quarter " + fixed(within_25(validation.compared), 3) +
                     ", median absolute error " + fixed(median_abs_error(validation.compared), 3) + ".\n\n" +
                     comparisons_markdown(validation.compared);
  text += "Sizes:\n\n" + comparisons_markdown(validation.sizes);
  text += "Figures that a parameter was derived from, not counted:\n\n" + comparisons_markdown(validation.derived);
  std::map<std::string, std::vector<std::string>> reasons;
  for (const auto& [row, why] : validation.unmapped) reasons[why.reason].push_back(row.row);
  text +=
      "Not compared (" + std::to_string(validation.unmapped.size()) + " rows):\n\n| reason | rows |\n| --- | --- |\n";
  for (const auto& [reason, rows] : reasons) {
    std::string list;
    for (const std::string& row : rows) list += (list.empty() ? "" : ", ") + row;
    text += "| " + markdown_cell(reason) + " | " + list + " |\n";
  }
  return text;
}

}  // namespace retrosim
