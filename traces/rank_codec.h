// How one KV head's rankings become small numbers: each step is written relative to the step before it in the chunk.
//
// Pages. The reference list R is the previous step's list followed by every page it did not list, in ascending page
// order; the chunk's first step takes R = 0, 1, 2, ... A page is coded as its index in R after the pages of better
// ranks have been taken out: a ranking that repeats is all zeros. (On real rankings this needs 6.4 bits where the plain
// distance between ranks needs 7.9, because a page that has been taken cannot come again.)
//
// Masses. A mass code is predicted as the page's last one in the chunk; for a page not listed before in the chunk, as
// the one that stood at this rank (or the last rank there was) in the step before; in the chunk's first step as the one
// of the rank above, 0 at the top. The prediction is shifted by the step's `mass_shift`, its mean error, because all of
// a head's masses move together when the first token takes more or less. What is written is the zigzagged difference
// mod 256: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/policy.h"
#include "traces/remaining_list.h"

namespace retrosim {

class RankCodec {
 public:
  /// Forgets everything: the next step is the first of a chunk.
  void reset();

  /// Writes one step's codes; returns its mass_shift. pages: distinct and < num_pages, at least one; all spans have one
  /// length; num_pages does not shrink from step to step.
  std::uint8_t encode(std::span<const PageId> pages, std::span<const std::uint8_t> mass, std::int64_t num_pages,
                      std::span<std::uint32_t> page_codes, std::span<std::uint8_t> mass_codes);

  /// The reverse. Returns false when the codes are not those of a ranking.
  bool decode(std::span<const std::uint32_t> page_codes, std::span<const std::uint8_t> mass_codes,
              std::uint8_t mass_shift, std::int64_t num_pages, std::span<PageId> pages, std::span<std::uint8_t> mass);

 private:
  void start_step(std::int64_t num_pages);
  void finish_step(std::span<const PageId> pages, std::span<const std::uint8_t> mass);
  template <typename Take>
  bool decode_entries(std::span<const std::uint32_t> page_codes, std::span<const std::uint8_t> mass_codes,
                      std::uint8_t mass_shift, std::span<PageId> pages, std::span<std::uint8_t> mass, Take take);

  RemainingList remaining_;
  std::vector<PageId> order_;            // R
  std::vector<std::uint32_t> place_;     // encode: index of each page in R
  std::vector<std::uint8_t> listed_;     // [pages], listed before in the chunk
  std::vector<std::uint8_t> last_mass_;  // [pages], last mass code of listed ones
  std::vector<std::uint8_t> rank_mass_;  // mass codes of the previous step, by rank
  std::vector<PageId> scratch_;          // of finish_step
  std::vector<std::uint8_t> taken_;      // of finish_step
  std::vector<std::uint8_t> predicted_;  // of encode
};

}  // namespace retrosim
