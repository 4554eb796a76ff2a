// Prices held against a table of operation times.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/op_table.h"
#include "model/gpu_profile.h"

namespace retrosim {

struct OpComparison {
  std::string label;
  std::string regime;
  double measured_us = 0;
  double predicted_us = 0;
  double naive_us = 0;  // datasheet bandwidth and peak, nothing else
};

struct OpValidation {
  std::string file;
  std::string format;
  GpuProfile gpu;
  std::vector<OpComparison> compared;
  std::vector<std::pair<std::string, std::string>> left_out;  // label and reason
};

/// Reads the table (op_table.h) and prices its rows. Throws InputError as read_op_table does.
OpValidation validate_ops(const std::filesystem::path& csv, const GpuProfile& gpu);

/// Errors of `rows` of the comparisons; `naive` takes the roofline's numbers instead.
HoldOut errors_of(const std::vector<OpComparison>& rows, bool naive);

}  // namespace retrosim
