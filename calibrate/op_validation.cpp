#include "calibrate/op_validation.h"

#include <algorithm>

#include "calibrate/roofline_fit.h"
#include "model/pricing.h"

namespace retrosim {
namespace {

double naive_s(const Op& op, const GpuSpec& spec) {
  const OpWork work = work_of(op, spec);
  const double peak =
      op.engine() == Engine::tensor_core ? spec.peak_flops_per_s(pricing_dtype(op)) : spec.cuda_core_flops_per_s;
  return std::max((work.hbm_bytes + work.l2_bytes) / spec.hbm_bandwidth_bytes_per_s, work.flops / peak);
}

}  // namespace

OpValidation validate_ops(const std::filesystem::path& csv, const GpuProfile& gpu) {
  OpTable table = read_op_table(csv, gpu.spec);
  OpValidation validation{.file = csv.string(), .format = table.format, .gpu = gpu, .compared = {}, .left_out = {}};
  const Pricer pricer(gpu);
  for (OpTableRow& row : table.rows) {
    if (!row.reason.empty()) {
      validation.left_out.emplace_back(std::move(row.label), std::move(row.reason));
      continue;
    }
    double predicted_s = row.gaps * gpu.graph_node_s;
    double roofline_s = 0;
    for (const Op& op : row.ops) {
      predicted_s += pricer.price(op).latency_s();
      roofline_s += naive_s(op, gpu.spec);
    }
    validation.compared.push_back(
        {std::move(row.label), std::move(row.regime), row.measured_us, 1e6 * predicted_s, 1e6 * roofline_s});
  }
  return validation;
}

HoldOut errors_of(const std::vector<OpComparison>& rows, bool naive) {
  std::vector<double> predicted;
  std::vector<double> measured;
  for (const OpComparison& row : rows) {
    predicted.push_back(naive ? row.naive_us : row.predicted_us);
    measured.push_back(row.measured_us);
  }
  return error_summary(predicted, measured);
}

}  // namespace retrosim
