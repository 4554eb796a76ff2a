// First profiles of the H100 and of other GPUs with published tables: fitted from measurements that others made and
// published, not from ours.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/gpu_profile.h"

namespace retrosim {

/// One sample with what the fitted model and the naive roofline (datasheet bandwidth and peak, nothing else) say of it.
struct FitResidual {
  std::string kind;   // key of GpuProfile::kinds
  std::string label;  // the table's key columns
  std::string regime;
  double measured_us = 0;
  double predicted_us = 0;
  double naive_us = 0;
  bool held_out = false;  // only these were not seen by the fit
};

struct PublishedFit {
  GpuProfile profile;
  Fitted interconnect_efficiency;      // the profile's, with its interval
  std::vector<FitResidual> residuals;  // every sample of every fitted kind, held out or not
};

/// Reads the tables of `folder` (aic_gemm_{bf16,fp8}_<gpu>.csv, aic_attn_decode_{bf16,fp8}kv_<gpu>.csv; of h100-sxm
/// h100_probe.txt and aic_allreduce.csv as well) and fits every kind on four fifths of its samples; the rest, chosen by
/// a hash of their shape, is held out. A GPU without fp8 tables has no fp8 kinds; what only the probe says is borrowed
/// from the bundled h100-sxm profile elsewhere. Same files, same profile. Throws InputError for a missing or malformed
/// table.
PublishedFit fit_published_tables(const std::filesystem::path& folder, const std::string& gpu = "h100-sxm");

/// CSV of the held-out samples: kind,regime,label,measured_us,predicted_us,naive_us,relative_error.
std::string hold_out_csv(const PublishedFit& fit);

/// Markdown report: parameters, hold-out errors by kind and regime beside the naive roofline, and what was borrowed.
std::string fit_report_markdown(const PublishedFit& fit);

}  // namespace retrosim
