// A GPU profile from the raw samples of `retrosim calibrate`, offline.
#pragma once

#include <filesystem>
#include <vector>

#include "calibrate/fit_published.h"

namespace retrosim {

/// Whole steps of the grid, held out of the fit as their cases are: measured beside the sum of their operations.
struct StepResidual {
  int case_index = 0;
  double measured_us = 0;
  double sum_us = 0;        // of the operations as in chains of their like
  double predicted_us = 0;  // with what a step saves (KindProfile::step_overlap_s)
  bool held_out = false;
};

struct CalibrationFit {
  PublishedFit ops;  // profile and residuals of chains
  std::vector<StepResidual> steps;
};

/// Fits every kind that the folders (samples.jsonl or samples.jsonl.zst, and machine.json) have chains of: a roofline,
/// tables on top, and from whole steps what a launch saves among others. One case in five, chosen by a hash of its
/// index, is held out of everything. Kinds that were not measured, links between GPUs and the host's rates are those of
/// `base`, transferred when it is another GPU's. The first folder has launches and links; further ones, of the same
/// GPU's kind, add chains. Same files, same profile. Throws InputError.
CalibrationFit fit_calibration(const std::vector<std::filesystem::path>& folders, const GpuProfile& base);

}  // namespace retrosim
