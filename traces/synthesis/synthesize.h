// Synthetic traces: rankings and masses drawn from models of recorded ones, for longer contexts, more steps and other
// shapes, in the normal container.
//
// Lists. Synthetic KV head h of layer l follows recorded head (h / files) mod heads of file h mod files, in the
// recorded layer nearest in relative depth. Lists of one file and pass through its heads share their step path
// (step_path.h), as the heads of a model share its query.
//
// Pages. The last 16 pages are the recent places; the first 4 pages are themselves; the other bulk pages stand in their
// order for the synthetic ones, each for as many as the longer context needs. Copies of a page have its affinity and
// loadings but step paths of their own: they are alike in rank, not in moment. A page that leaves the recent places
// takes the part of a bulk page drawn from the newer half.
//
// Masses. Exponentials of y, divided by their sum: a longer context dilutes the mass of each page as softmax does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "traces/trace_header.h"
#include "traces/trace_reader.h"

namespace retrosim {

struct SynthesisOptions {
  std::int64_t context = 0;    // tokens at the first step; 0: as recorded when the fit begins
  std::int64_t steps = 0;      // 0: as many as are fitted to
  int num_layers = 0;          // 0: the first file's layers, those that it recorded
  int num_kv_heads = 0;        // 0: the first file's
  std::int64_t fit_first = 0;  // recorded steps that the models are fitted to: [fit_first, fit_first + fit_steps)
  std::int64_t fit_steps = 0;  // 0: to the end, at most kMaxFitSteps
  std::uint64_t seed = 1;
  int threads = 1;
  std::string tool_version = {};
  std::string label = {};  // of the header: how far the synthesis was tested
  std::function<void(std::int64_t done, std::int64_t of)> progress = {};
};

inline constexpr std::int64_t kMaxFitSteps = 512;

struct SynthesisResult {
  TraceHeader header;
  std::int64_t steps = 0;
  std::int64_t fitted_steps = 0;  // of the first file
  double factor_share_mean = 0;   // over the fitted lists
};

/// Writes `out`. Same sources, options and seed give the same file on the same machine. Throws InputError for sources
/// that list not all pages, differ in page size, scoring or group reduction, or are too short, and for a shape outside
/// the container's limits.
SynthesisResult synthesize(const std::vector<const TraceReader*>& sources, const SynthesisOptions& options,
                           const std::filesystem::path& out);

}  // namespace retrosim
