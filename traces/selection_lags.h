// How much of a selection was selected some steps before.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "model/policy.h"

namespace retrosim {

/// One KV head's last selections as bit sets.
class SelectionLags {
 public:
  explicit SelectionLags(std::int64_t max_lag)
      : ring_(static_cast<std::size_t>(max_lag)), shared_(static_cast<std::size_t>(max_lag)) {}

  /// Takes S_t and returns |S_t n S_{t-lag}| at [lag - 1], for every lag up to min(max_lag, steps before).
  std::span<const std::int64_t> advance(std::span<const PageId> selected) {
    now_.clear();
    for (const PageId page : selected) {
      if (page / 64 >= now_.size()) now_.resize(page / 64 + 1);
      now_[page / 64] |= std::uint64_t{1} << (page % 64);
    }
    const std::size_t lags = std::min(static_cast<std::size_t>(steps_), ring_.size());
    for (std::size_t lag = 1; lag <= lags; ++lag) {
      const Bits& before = ring_[(static_cast<std::size_t>(steps_) - lag) % ring_.size()];
      const std::size_t words = std::min(before.size(), now_.size());
      std::int64_t shared = 0;
      for (std::size_t i = 0; i < words; ++i) shared += std::popcount(before[i] & now_[i]);
      shared_[lag - 1] = shared;
    }
    if (!ring_.empty()) ring_[static_cast<std::size_t>(steps_) % ring_.size()] = now_;
    ++steps_;
    return {shared_.data(), lags};
  }

 private:
  using Bits = std::vector<std::uint64_t>;
  std::vector<Bits> ring_;  // slot = step % max_lag
  Bits now_;
  std::vector<std::int64_t> shared_;
  std::int64_t steps_ = 0;
};

}  // namespace retrosim
