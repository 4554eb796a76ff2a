#include "traces/synthesis/held_out.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <system_error>

#include "traces/statistics.h"

namespace retrosim {
namespace {

const std::vector<int> kWindows = {1, 2, 4, 8, 16};

LayerStatistics statistics_of(const TraceReader& trace, std::int64_t first_step, int threads) {
  TraceStatisticsOptions options;
  options.policy = make_policy("quest", {.budget = kHeldOutBudget});
  options.windows = kWindows;
  options.threads = threads;
  options.max_lag = 16;
  options.reuse = true;
  options.first_step = first_step;
  return trace_statistics(trace, options).overall;
}

std::string percent(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * fraction);
  return text;
}

/// Removes the file however the test ends.
struct Scratch {
  const std::filesystem::path& file;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }
};

}  // namespace

double HeldOutRow::gap() const {
  return recorded != 0 ? std::abs(synthetic / recorded - 1) : synthetic == 0 ? 0 : HUGE_VAL;
}

double HeldOutTest::worst_gap() const {
  double worst = 0;
  for (const HeldOutRow& row : rows) worst = std::max(worst, row.gap());
  return worst;
}

HeldOutTest held_out_test(const TraceReader& trace, const SynthesisOptions& options,
                          const std::filesystem::path& scratch) {
  HeldOutTest test;
  test.file = trace.origin();
  test.fitted_steps = trace.num_steps() / 2;
  test.unseen_steps = trace.num_steps() - test.fitted_steps;
  SynthesisOptions half = options;
  half.context = trace.header().first_position + test.fitted_steps + 1;
  half.steps = test.unseen_steps;
  half.num_layers = half.num_kv_heads = 0;
  half.fit_first = 0;
  half.fit_steps = test.fitted_steps;
  half.label = "synthetic, of a held-out test";
  half.progress = {};
  const Scratch remove{scratch};
  synthesize({&trace}, half, scratch);
  const LayerStatistics synthetic = statistics_of(TraceReader(scratch), 0, options.threads);
  const LayerStatistics recorded = statistics_of(trace, test.fitted_steps, options.threads);
  const auto add = [&](const std::string& name, double of_recorded, double of_synthetic) {
    test.rows.push_back({.statistic = name, .recorded = of_recorded, .synthetic = of_synthetic});
  };
  for (const std::size_t lag : {1U, 4U, 16U}) {
    add("overlap, lag " + std::to_string(lag), recorded.overlap_by_lag[lag - 1].value,
        synthetic.overlap_by_lag[lag - 1].value);
  }
  add("reuse distance, pages", recorded.reuse.mean_distance(), synthetic.reuse.mean_distance());
  add("reuse age, steps", recorded.reuse.mean_age(), synthetic.reuse.mean_age());
  for (std::size_t w = 0; w < kWindows.size(); ++w) {
    if (kWindows[w] > 1) {
      add("exposure, n = " + std::to_string(kWindows[w] - 1), recorded.exposure[w].value, synthetic.exposure[w].value);
    }
  }
  for (std::size_t w = 0; w < kWindows.size(); ++w) {
    add("recall, window " + std::to_string(kWindows[w]), recorded.mass_recall[w].value, synthetic.mass_recall[w].value);
  }
  return test;
}

static_assert(kHeldOutTolerance == 0.05);  // the label says 5 %

std::string held_out_label(const std::vector<HeldOutTest>& tests) {
  if (tests.empty()) return "synthetic, not tested against recorded steps";
  std::string within;
  std::string beyond;
  for (const HeldOutTest& test : tests) {
    const std::string name = std::filesystem::path(test.file).filename().string();
    const auto worst = std::max_element(test.rows.begin(), test.rows.end(),
                                        [](const HeldOutRow& a, const HeldOutRow& b) { return a.gap() < b.gap(); });
    if (worst->gap() <= kHeldOutTolerance) {
      within += (within.empty() ? "" : " and ") + name;
    } else {
      beyond += (beyond.empty() ? "" : " and ") + name + " (worst gap " + percent(worst->gap()) + ": " +
                worst->statistic + ")";
    }
  }
  if (beyond.empty()) return "synthetic, within 5 % of the unseen half of " + within;
  return "synthetic, not within 5 % of the unseen half of " + beyond;
}

}  // namespace retrosim
