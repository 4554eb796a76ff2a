// Attention mass of all pages at one step.
#pragma once

#include <array>
#include <cstddef>

#include "traces/trace_reader.h"

namespace retrosim {

inline double total_mass(const HeadRanking& ranking) {
  // Eight running sums: one alone would wait for each addition.
  std::array<float, 8> sums{};
  const std::size_t whole = ranking.mass.size() / 8 * 8;
  for (std::size_t i = 0; i < whole; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += ranking.mass[i + lane];
  }
  double total = ranking.rest;
  for (const float sum : sums) total += sum;
  for (std::size_t i = whole; i < ranking.mass.size(); ++i) total += ranking.mass[i];
  return total;
}

}  // namespace retrosim
