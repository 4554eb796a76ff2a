// The rows of a sweep: one point's inputs and what they come to.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/sweep_spec.h"
#include "sim/decode_simulation.h"
#include "traces/trace_reader.h"

namespace retrosim {

enum class SweepFormat : std::uint8_t { csv, json_lines };

/// What points of one sweep share on all threads, each looked up or worked out when first needed. A replayed share is a
/// function of its key alone, so rows do not depend on which point came first.
class SweepLibrary {
 public:
  const LlmSpec& llm(const std::string& name);
  /// By --gpu and --profile.
  std::shared_ptr<const Pricer> pricer(const SimulationRequest& request);
  /// What the trace says of `config`'s policy and window, at a context of the same octave (or the nearest that it
  /// recorded) and interpolated between budgets four to the octave.
  ReplayedShare share(const DecodeConfig& config, const std::string& trace);

 private:
  template <typename Value>
  using Lazy = std::map<std::string, std::shared_ptr<Value>>;
  std::shared_ptr<const TraceReader> trace(const std::string& name);
  ReplayedShare share_at(const DecodeConfig& config, const std::string& trace);

  std::mutex mutex_;
  Lazy<const LlmSpec> llms_;
  Lazy<const Pricer> pricers_;
  Lazy<const TraceReader> traces_;
  Lazy<const ReplayedShare> shares_;
};

/// Computes rows, on one thread.
class SweepEvaluator {
 public:
  SweepEvaluator(const SweepSpec& spec, std::shared_ptr<SweepLibrary> library, SweepFormat format);

  /// The line of one point, with its newline. What a combination of inputs cannot have is the row's `status` and
  /// `reason`, never an exception: "ok", "does not fit", "refused".
  std::string row(std::uint64_t point);

 private:
  Json evaluate(std::uint64_t point, Json row);
  void evaluate_step(const ServingRequest& request, Json& row);
  void evaluate_serving(const ServingRequest& request, Json& row);

  const SweepSpec& spec_;
  std::shared_ptr<SweepLibrary> library_;
  SweepFormat format_;
  std::vector<std::string> columns_;
  std::map<std::string, DecodeSimulation> simulations_;  // by what decides the operations of a step
};

/// Names of the columns: point, the axes' inputs, status, reason, and the command's figures.
std::vector<std::string> sweep_columns(const SweepSpec& spec);

/// The header line of a CSV file.
std::string sweep_csv_header(const SweepSpec& spec);

}  // namespace retrosim
