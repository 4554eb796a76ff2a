// A trace file that lasts as long as its object.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/traces/synthetic_trace.h"
#include "traces/trace_writer.h"

namespace retrosim {

class TemporaryTrace {
 public:
  explicit TemporaryTrace(const TraceHeader& header, const std::vector<SyntheticStep>& steps)
      : file_(std::filesystem::path(testing::TempDir()) /
              ("retrosim_" + std::to_string(::getpid()) + "_" + std::to_string(++made()) + ".rtrace")) {
    TraceWriter writer(file_, header, {.steps_per_chunk = 16});
    for (const SyntheticStep& step : steps) writer.add_step(step.record());
    writer.close();
  }
  ~TemporaryTrace() { std::filesystem::remove(file_); }
  TemporaryTrace(const TemporaryTrace&) = delete;
  TemporaryTrace& operator=(const TemporaryTrace&) = delete;
  const std::filesystem::path& file() const { return file_; }

 private:
  static int& made() {
    static int count = 0;
    return count;
  }
  std::filesystem::path file_;
};

inline std::vector<SyntheticStep> drifting_steps(const TraceHeader& header, std::int64_t count, double drift) {
  SyntheticRankings rankings(header, drift, 21);
  std::vector<SyntheticStep> steps;
  for (std::int64_t i = 0; i < count; ++i) steps.push_back(rankings.next());
  return steps;
}

}  // namespace retrosim
