// The order of pages beside a stable sort by comparison, and mass codes beside their formula.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "traces/mass_scale.h"
#include "traces/record_page_ranker.h"

namespace retrosim {
namespace {

TEST(OrderPages, OrdersAsAStableSortDoes) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 30);
  for (const std::size_t pages : {1U, 2U, 3U, 100U, 512U, 3000U}) {
    for (const bool ties : {false, true}) {
      std::vector<float> scores(pages), mass(pages);
      for (std::size_t page = 0; page < pages; ++page) {
        // With ties: -0 and 0, and few values, both signs.
        scores[page] = ties ? std::trunc(normal(random) / 20) * (page % 2 == 0 ? 1.0F : -1.0F) : normal(random);
        mass[page] = static_cast<float>(page % 7) / 64;
      }
      std::vector<PageId> expected(pages);
      std::iota(expected.begin(), expected.end(), PageId{0});
      std::stable_sort(expected.begin(), expected.end(), [&](PageId a, PageId b) { return scores[a] > scores[b]; });
      for (const std::size_t top : {std::size_t{0}, pages / 3 + 1, pages, pages + 1}) {
        PageRanks ranks;
        order_pages(scores, mass, static_cast<std::int64_t>(top), ranks);
        const std::size_t listed = top == 0 ? pages : std::min(top, pages);
        ASSERT_EQ(ranks.pages, std::vector(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(listed)));
        double rest = 0;
        for (std::size_t i = 0; i < pages; ++i) {
          if (i < listed) {
            ASSERT_EQ(ranks.mass[i], mass[expected[i]]);
          } else {
            rest += mass[expected[i]];
          }
        }
        EXPECT_FLOAT_EQ(ranks.rest, static_cast<float>(std::min(rest, 1.0)));
      }
    }
  }
}

// The formula of mass_scale.h.
std::uint8_t code_by_formula(float mass, bool coarse) {
  if (!(mass > 0)) return 0;
  const float o = std::max(-std::log2(mass), 0.0F);
  const float x = o < 6 ? 16 * o : o < 9 ? 96 + 4 * (o - 6) : o < 12 || !coarse ? 108 + 2 * (o - 9) : 114 + (o - 12);
  return static_cast<std::uint8_t>(std::max(255 - std::round(x), 0.0F));
}

TEST(MassScale, LooksUpWhatTheFormulaSays) {
  for (const auto name : {kMassScaleName, kOlderMassScaleName}) {
    const MassScale scale(name);
    const bool coarse = name == kMassScaleName;
    // Every 997th float from 0 to 1, and all around the middle between two codes.
    for (std::uint32_t bits = 0; bits <= std::bit_cast<std::uint32_t>(1.001F); bits += 997) {
      const auto mass = std::bit_cast<float>(bits);
      ASSERT_EQ(scale.code_of(mass), code_by_formula(mass, coarse)) << mass;
    }
    for (int code = 1; code < 255; ++code) {
      const auto middle = std::bit_cast<std::uint32_t>(std::sqrt(scale.mass_of(static_cast<std::uint8_t>(code)) *
                                                                 scale.mass_of(static_cast<std::uint8_t>(code + 1))));
      for (std::uint32_t bits = middle - 2000; bits < middle + 2000; ++bits) {
        const auto mass = std::bit_cast<float>(bits);
        ASSERT_EQ(scale.code_of(mass), code_by_formula(mass, coarse)) << mass;
      }
    }
  }
}

}  // namespace
}  // namespace retrosim
