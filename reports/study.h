// What a report is about: one question, and how its answer moves with the window, the budget, the batch and the
// context.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/simulation_run.h"
#include "traces/statistics.h"

namespace retrosim {

/// Two shades of one question: attention mass on the pages that a query has seen.
struct MassRecall {
  double without_retro = 0;  // on the current query's own pages
  double retro = 0;          // after the w-1 steps that follow
};

struct SweepPoint {
  double x = 0;
  StepSummary full;
  StepSummary without_retro;
  StepSummary asked;  // with the window
  std::optional<MassRecall> mass_recall;
  bool fits = true;  // `asked` in the GPU's memory
};

/// The question with one of its inputs moved; everything else stays as asked.
struct Sweep {
  std::string input;               // "window", "budget", "batch", "context"
  std::vector<SweepPoint> points;  // ascending x
};

struct Study {
  SimulationRun run;
  std::vector<Sweep> sweeps;
  std::optional<TraceStatistics> trace;  // of the trace in its own shape, under the asked policy
  int sweep_steps = 0;                   // decode steps behind each point of a sweep
};

/// Throws InputError as resolve() and run_simulation() do, and for the full policy, which has nothing to compare.
Study run_study(const SimulationRequest& request);

/// Schema retrosim.report/1.
Json study_json(const Study& study);

}  // namespace retrosim
