// How one KV head's rankings become small numbers: each step is written relative to the step before it in the chunk.
//
// The reference order R is the previous step's list followed by every page it did not list, in ascending page order;
// the chunk's first step takes R = 0, 1, 2, ... Rank i of a step with n pages is coded as the distance (j - i) mod n,
// where R[j] is its page, taken as a signed number and zigzagged: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... A page that
// keeps its rank is a 0, and every code is below n. A mass code is written as its zigzagged difference (mod 256) to the
// page's last mass code in the chunk, or, for a page not listed before, to the code of the rank above it (0 at the
// top).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/policy.h"

namespace retrosim {

class RankCodec {
 public:
  /// Forgets everything: the next step is the first of a chunk.
  void reset();

  /// Writes one step's codes. pages: distinct and < num_pages; all spans have one length.
  void encode(std::span<const PageId> pages, std::span<const std::uint8_t> mass, std::int64_t num_pages,
              std::span<std::uint32_t> page_codes, std::span<std::uint8_t> mass_codes);

  /// The reverse. Returns false when the codes are not those of a ranking.
  bool decode(std::span<const std::uint32_t> page_codes, std::span<const std::uint8_t> mass_codes,
              std::int64_t num_pages, std::span<PageId> pages, std::span<std::uint8_t> mass);

 private:
  void grow(std::int64_t num_pages);
  void finish_step(std::span<const PageId> pages);

  std::vector<PageId> order_;             // R
  std::vector<PageId> scratch_;           // of finish_step
  std::vector<std::uint32_t> place_;      // encode: index of each page in R
  std::vector<std::uint32_t> listed_at_;  // last step (from 1) that listed the page; 0: none
  std::vector<std::uint8_t> last_mass_;   // of each page, where listed_at_ > 0
  std::uint32_t step_ = 0;
};

}  // namespace retrosim
