// Rankings that drift from step to step as attention does, for tests and benchmarks: every page has a log-score made of
// a lasting part and noise that decays, so neighbouring steps agree on most of their best pages.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "traces/trace_header.h"
#include "traces/trace_writer.h"

namespace retrosim {

struct SyntheticStep {
  std::int64_t position = 0;
  std::int64_t num_pages = 0;
  std::vector<std::vector<PageId>> pages;  // [layers * heads][listed]
  std::vector<std::vector<float>> mass;
  std::vector<float> rest;

  StepRecord record() const {
    StepRecord step{position, num_pages, {}};
    for (std::size_t i = 0; i < pages.size(); ++i) step.heads.push_back({pages[i], mass[i], rest[i]});
    return step;
  }
};

inline TraceHeader synthetic_header(std::int64_t first_position, std::int64_t steps) {
  TraceHeader header;
  header.tool_version = "test";
  header.model_name = "synthetic";
  header.config_hash = header.checkpoint_hash = header.tokens_hash = header.prompt_hash = "xxh3:0";
  header.num_layers = 4;
  header.recorded_layers = {0, 2, 3};
  header.num_q_heads = 6;
  header.num_kv_heads = 2;
  header.head_dim = 64;
  header.num_tokens = first_position + steps;
  header.prompt_tokens = first_position;
  header.first_position = first_position;
  header.workload = "random rankings that drift";
  return header;
}

class SyntheticRankings {
 public:
  /// `drift` in [0, 1]: 0 repeats the ranking, 1 draws a new one at every step.
  SyntheticRankings(const TraceHeader& header, double drift, std::uint64_t seed)
      : header_(header),
        drift_(drift),
        random_(seed),
        noise_(header.recorded_layers.size() * static_cast<std::size_t>(header.num_kv_heads)),
        lasting_(noise_.size()) {}

  SyntheticStep next() {
    SyntheticStep step;
    step.position = header_.first_position + step_++;
    step.num_pages = header_.num_pages(step.position);
    const auto listed = static_cast<std::size_t>(header_.listed_pages(step.position));
    std::normal_distribution<double> normal;
    for (std::size_t i = 0; i < noise_.size(); ++i) {
      while (static_cast<std::int64_t>(noise_[i].size()) < step.num_pages) {
        noise_[i].push_back(normal(random_));
        lasting_[i].push_back(normal(random_));
      }
      const auto n = static_cast<std::size_t>(step.num_pages);
      std::vector<double> score(n);
      std::vector<double> mass(n);
      double total = 0;
      for (std::size_t j = 0; j < n; ++j) {
        noise_[i][j] = std::sqrt(1 - drift_) * noise_[i][j] + std::sqrt(drift_) * normal(random_);
        score[j] = lasting_[i][j] * (drift_ < 1 ? 1.0 : 0.0) + noise_[i][j];
        mass[j] = std::exp(2 * score[j] + 0.5 * drift_ * normal(random_));
        total += mass[j];
      }
      std::vector<PageId> order(n);
      std::iota(order.begin(), order.end(), PageId{0});
      std::sort(order.begin(), order.end(), [&](PageId a, PageId b) { return score[a] > score[b]; });
      double rest = 0;
      for (std::size_t r = listed; r < n; ++r) rest += mass[order[r]];
      order.resize(listed);
      std::vector<float> listed_mass;
      for (const PageId page : order) listed_mass.push_back(static_cast<float>(mass[page] / total));
      step.pages.push_back(std::move(order));
      step.mass.push_back(std::move(listed_mass));
      step.rest.push_back(static_cast<float>(rest / total));
    }
    return step;
  }

 private:
  TraceHeader header_;
  double drift_;
  std::mt19937_64 random_;
  std::vector<std::vector<double>> noise_;    // [layers * heads][pages]
  std::vector<std::vector<double>> lasting_;  // [layers * heads][pages]
  std::int64_t step_ = 0;
};

}  // namespace retrosim
