#include "reports/op_validation_json.h"

#include <map>
#include <sstream>

namespace retrosim {
namespace {

Json errors_json(const std::vector<OpComparison>& rows) {
  if (rows.empty()) {
    return {
        {"rows", 0}, {"mape", nullptr}, {"median_abs_error", nullptr}, {"bias", nullptr}, {"p95_abs_error", nullptr}};
  }
  const HoldOut errors = errors_of(rows, false);
  const HoldOut naive = errors_of(rows, true);
  return {
      {"rows", errors.samples},
      {"mape", errors.mape},
      {"median_abs_error", errors.median_abs_error},
      {"bias", errors.bias},
      {"p95_abs_error", errors.p95_abs_error},
      {"naive_roofline", {{"mape", naive.mape}, {"median_abs_error", naive.median_abs_error}, {"bias", naive.bias}}}};
}

}  // namespace

Json op_validation_json(const OpValidation& validation) {
  std::map<std::string, std::vector<OpComparison>> regimes;
  for (const OpComparison& row : validation.compared) regimes[row.regime].push_back(row);
  std::map<std::string, std::int64_t> reasons;
  for (const auto& [label, reason] : validation.left_out) ++reasons[reason];

  Json document = {{"schema", "retrosim.validate-ops/1"}, {"measured", validation.file},
                   {"format", validation.format},         {"gpu", validation.gpu.spec.name},
                   {"profile", validation.gpu.name},      {"profile_provenance", validation.gpu.provenance}};
  document.update(errors_json(validation.compared));
  document["by_regime"] = Json::object();
  for (const auto& [regime, rows] : regimes) document["by_regime"][regime] = errors_json(rows);
  document["rows_left_out"] = validation.left_out.size();
  document["left_out"] = Json::array();
  for (const auto& [reason, rows] : reasons) document["left_out"].push_back({{"reason", reason}, {"rows", rows}});
  return document;
}

std::string op_validation_csv(const OpValidation& validation) {
  std::ostringstream csv;
  csv.precision(9);
  csv << "label,regime,measured_us,predicted_us,naive_us,relative_error\n";
  const auto cell = [](std::string text) {
    for (char& c : text) c = c == ',' ? ';' : c;
    return text;
  };
  for (const OpComparison& row : validation.compared) {
    csv << cell(row.label) << ',' << cell(row.regime) << ',' << row.measured_us << ',' << row.predicted_us << ','
        << row.naive_us << ',' << row.predicted_us / row.measured_us - 1 << '\n';
  }
  return csv.str();
}

}  // namespace retrosim
