// What `retrosim sweep SPEC.json` asks for: one command's inputs, some of them moved along axes. Schema
// retrosim.sweep-spec/1:
//   {"schema": "retrosim.sweep-spec/1", "command": "simulate" | "serve",
//    "inputs": {"llm": "llama-3.1-8b", ...},                       what stays; the flags' names with underscores
//    "grid": [AXIS, ...]  or  "latin_hypercube": {"samples": N, "seed": S, "axes": [AXIS, ...]},
//    "demand": "mean" | "recorded"}                                simulate only, default mean
// AXIS: {"input": NAME, "values": [...]} or {"input": NAME, "low": A, "high": B, "scale": "linear" | "log"}, in a grid
// with "points": N evenly spaced ones. A grid's last axis is the fastest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "reports/input_fields.h"
#include "sim/sweep/design.h"

namespace retrosim {

struct SweepAxis {
  const InputField* field = nullptr;
  std::vector<nlohmann::json> values;  // empty: a range
  double low = 0;
  double high = 0;
  bool logarithmic = false;

  /// The value at a coordinate in (0, 1); whole numbers are rounded to the nearest.
  nlohmann::json at(double position) const;
};

struct SweepSpec {
  std::string origin;  // the file
  bool serving = false;
  // simulate: replay the trace for every point and simulate all its steps, as `simulate` does; false: one step on the
  // mean demand of a replay that points share.
  bool recorded_demand = false;
  ServingRequest base;
  std::vector<SweepAxis> axes;
  SweepDesign design = SweepDesign::grid({});
  std::uint64_t fingerprint = 0;  // XXH3 of the document and the program's version

  /// [axes] values of a point.
  std::vector<nlohmann::json> values_at(std::uint64_t point) const;
};

/// Throws InputError naming file, field and value. Names (models, GPUs, policies, traces) are looked up here, so that a
/// point can only be refused for a combination.
SweepSpec parse_sweep_spec(std::string_view json_text, std::string_view origin);
SweepSpec load_sweep_spec(const std::filesystem::path& file);

}  // namespace retrosim
