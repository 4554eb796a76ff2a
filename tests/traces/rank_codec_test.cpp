// The list behind the page codes against a plain vector, and the codec's words on small rankings.
#include "traces/rank_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "traces/remaining_list.h"
#include "traces/short_list.h"

namespace retrosim {
namespace {

// Sizes around the borders of words (64) and groups (1024).
TEST(RemainingList, TakesWhatAPlainListTakes) {
  std::mt19937 random(3);
  for (const std::size_t n : {1U, 2U, 63U, 64U, 65U, 512U, 1023U, 1024U, 1025U, 3000U}) {
    RemainingList by_rank;
    RemainingList by_position;
    by_rank.fill(n);
    by_position.fill(n);
    std::vector<std::uint32_t> plain(n);
    std::iota(plain.begin(), plain.end(), 0U);
    while (!plain.empty()) {
      ASSERT_EQ(by_rank.size(), plain.size());
      const auto k = static_cast<std::uint32_t>(random() % plain.size());
      ASSERT_EQ(by_rank.take(k), plain[k]) << n;
      ASSERT_EQ(by_position.take_position(plain[k]), k) << n;
      plain.erase(plain.begin() + k);
    }
    EXPECT_EQ(by_rank.size(), 0U);
  }
}

#if defined(__x86_64__)
template <typename List>
void expect_takes_what_a_plain_list_takes(std::size_t n) {
  std::mt19937 random(7);
  for (const bool front : {false, true}) {  // anywhere; always among the best eight, as rankings that repeat do
    List list;
    std::vector<std::uint32_t> plain(n);
    std::iota(plain.begin(), plain.end(), 0U);
    while (!plain.empty()) {
      const auto k =
          static_cast<std::uint32_t>(random() % (front ? std::min<std::size_t>(8, plain.size()) : plain.size()));
      ASSERT_EQ(list.take(k), plain[k]) << n;
      plain.erase(plain.begin() + k);
    }
  }
}

TEST(ShortList, TakesWhatAPlainListTakes) {
  if (!ShortList<1>::available()) GTEST_SKIP() << "no BMI2";
  for (const std::size_t n : {1U, 2U, 63U, 64U, 65U, 448U, 511U, 512U}) {
    expect_takes_what_a_plain_list_takes<ShortList<1>>(n);
    expect_takes_what_a_plain_list_takes<ShortList<2>>(n);
  }
  for (const std::size_t n : {513U, 575U, 960U, 1023U, 1024U}) expect_takes_what_a_plain_list_takes<ShortList<2>>(n);
}
#endif

TEST(RankCodec, CodesByHand) {
  RankCodec codec;
  std::vector<std::uint32_t> pages(3);
  std::vector<std::uint8_t> mass(3);
  // First step, R = 0 1 2: page 2 is third, then page 0 first of (0 1), then 1 first of (1).
  // Masses 200 190 195 by differences along the rank: 200 = -56 mod 256 -> 111, -10 -> 19, +5 -> 10.
  EXPECT_EQ(codec.encode(std::vector<PageId>{2, 0, 1}, std::vector<std::uint8_t>{200, 190, 195}, 3, pages, mass), 0);
  EXPECT_EQ(pages, (std::vector<std::uint32_t>{2, 0, 0}));
  EXPECT_EQ(mass, (std::vector<std::uint8_t>{111, 19, 10}));
  // The same order again is all zeros. All masses 7 lower: shift -7, no differences.
  EXPECT_EQ(codec.encode(std::vector<PageId>{2, 0, 1}, std::vector<std::uint8_t>{193, 183, 188}, 3, pages, mass),
            256 - 7);
  EXPECT_EQ(pages, (std::vector<std::uint32_t>{0, 0, 0}));
  EXPECT_EQ(mass, (std::vector<std::uint8_t>{0, 0, 0}));
}

// Lists of up to 512, 1,024 and 4,096 pages, and longer ones, are decoded in other ways each: ten steps across each of
// these borders, all pages listed and the best 400.
TEST(RankCodec, DecodesShortAndLongListsAlike) {
  std::mt19937 random(5);
  for (const std::int64_t border : {512, 1024, 4096}) {
    for (const bool all : {false, true}) {
      RankCodec encoder;
      RankCodec decoder;
      for (std::int64_t n = border - 5; n < border + 5; ++n) {
        std::vector<PageId> pages(static_cast<std::size_t>(n));
        std::iota(pages.begin(), pages.end(), PageId{0});
        std::shuffle(pages.begin(), pages.end(), random);
        if (!all) pages.resize(400);
        std::vector<std::uint8_t> mass(pages.size());
        for (std::uint8_t& m : mass) m = static_cast<std::uint8_t>(random());
        std::vector<std::uint32_t> page_codes(pages.size());
        std::vector<std::uint8_t> mass_codes(pages.size());
        const std::uint8_t shift = encoder.encode(pages, mass, n, page_codes, mass_codes);
        std::vector<PageId> decoded(pages.size());
        std::vector<std::uint8_t> decoded_mass(pages.size());
        ASSERT_TRUE(decoder.decode(page_codes, mass_codes, shift, n, decoded, decoded_mass));
        ASSERT_EQ(decoded, pages);
        ASSERT_EQ(decoded_mass, mass);
      }
    }
  }
}

TEST(RankCodec, RefusesCodesBeyondWhatIsLeft) {
  RankCodec codec;
  std::vector<PageId> pages(3);
  std::vector<std::uint8_t> mass(3);
  const std::vector<std::uint8_t> no_mass(3);
  EXPECT_TRUE(codec.decode(std::vector<std::uint32_t>{2, 1, 0}, no_mass, 0, 3, pages, mass));
  EXPECT_EQ(pages, (std::vector<PageId>{2, 1, 0}));
  codec.reset();
  EXPECT_FALSE(codec.decode(std::vector<std::uint32_t>{2, 2, 0}, no_mass, 0, 3, pages, mass));
}

}  // namespace
}  // namespace retrosim
