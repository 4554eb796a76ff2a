// Raw samples of `retrosim calibrate`: one JSON object per line of samples.jsonl, written as they come.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/op.h"

namespace retrosim {

/// Equal launches in a measured graph.
struct MeasuredOp {
  std::string name;  // role in the layer, e.g. "qkv_proj"
  OpShape shape;
  std::int64_t count = 0;     // launches
  std::int64_t distinct = 0;  // sets of weights or caches that they go round: count / distinct visits of each
  std::string path = {};      // of a product: "skinny" or "lt"; else empty
};

/// What one CUDA graph took, replay by replay.
struct GraphSample {
  int case_index = -1;  // of calibration_case; -1: outside the grid
  std::string part;     // "step", "chain", "segment", or what was measured of links and launches
  std::vector<MeasuredOp> ops;
  std::vector<double> samples_us;  // of the whole graph
  bool throttled = false;          // a clock reading beside it said so
  // Further figures of samples outside the grid, by name; empty else.
  std::vector<std::pair<std::string, double>> figures;

  double median_us() const;
  double figure(const std::string& name) const;  // throws InputError when there is none of this name
};

std::string to_json_line(const GraphSample& sample);
/// Throws InputError naming `origin`.
GraphSample parse_sample(const std::string& line, const std::string& origin);

/// All samples of a file of lines; a last line that was cut off is left out. Files that end in .zst are decompressed.
std::vector<GraphSample> read_samples(const std::filesystem::path& file);

}  // namespace retrosim
