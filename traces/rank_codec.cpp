#include "traces/rank_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "traces/short_list.h"

namespace retrosim {
namespace {

constexpr std::size_t kShortList = 4096;  // pages

std::uint8_t zigzag(std::uint8_t difference) {
  return static_cast<std::uint8_t>((difference << 1) ^ ((difference & 0x80) != 0 ? 0xFF : 0));
}

std::uint8_t unzigzag(std::uint8_t code) {
  return static_cast<std::uint8_t>((code >> 1) ^ ((code & 1) != 0 ? 0xFF : 0));
}

}  // namespace

void RankCodec::reset() {
  order_.clear();
  listed_.clear();
  last_mass_.clear();
  rank_mass_.clear();
}

void RankCodec::start_step(std::int64_t num_pages) {
  for (auto page = static_cast<PageId>(order_.size()); page < num_pages; ++page) order_.push_back(page);
  listed_.resize(order_.size(), 0);
  last_mass_.resize(order_.size(), 0);
}

void RankCodec::finish_step(std::span<const PageId> pages, std::span<const std::uint8_t> mass) {
  rank_mass_.assign(mass.begin(), mass.end());
  if (pages.size() == order_.size()) {
    std::copy(pages.begin(), pages.end(), order_.begin());
    return;
  }
  scratch_.assign(pages.begin(), pages.end());
  taken_.assign(order_.size(), 0);
  for (const PageId page : pages) taken_[page] = 1;
  for (PageId page = 0; page < order_.size(); ++page) {
    if (taken_[page] == 0) scratch_.push_back(page);
  }
  order_.swap(scratch_);
}

std::uint8_t RankCodec::encode(std::span<const PageId> pages, std::span<const std::uint8_t> mass,
                               std::int64_t num_pages, std::span<std::uint32_t> page_codes,
                               std::span<std::uint8_t> mass_codes) {
  start_step(num_pages);
  remaining_.fill(order_.size());
  place_.resize(order_.size());
  for (std::uint32_t i = 0; i < order_.size(); ++i) place_[order_[i]] = i;
  const bool first = rank_mass_.empty();
  predicted_.resize(pages.size());
  double error = 0;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const PageId page = pages[i];
    page_codes[i] = remaining_.take_position(place_[page]);
    predicted_[i] = first ? (i > 0 ? mass[i - 1] : std::uint8_t{0})
                          : (listed_[page] != 0 ? last_mass_[page] : rank_mass_[std::min(i, rank_mass_.size() - 1)]);
    error += mass[i] - predicted_[i];
  }
  const auto mean = static_cast<int>(std::lround(error / static_cast<double>(pages.size())));
  const auto shift = static_cast<std::uint8_t>(first ? 0 : std::clamp(mean, -127, 127));
  for (std::size_t i = 0; i < pages.size(); ++i) {
    mass_codes[i] = zigzag(static_cast<std::uint8_t>(mass[i] - predicted_[i] - shift));
    listed_[pages[i]] = 1;
    last_mass_[pages[i]] = mass[i];
  }
  finish_step(pages, mass);
  return shift;
}

// take(i, k): the k-th page left in R, which is taken out, after i others. Pages and masses in one loop: the processor
// works on an entry's mass while the next page is still being looked for.
template <typename Take>
bool RankCodec::decode_entries(std::span<const std::uint32_t> page_codes, std::span<const std::uint8_t> mass_codes,
                               std::uint8_t mass_shift, std::span<PageId> pages, std::span<std::uint8_t> mass,
                               Take take) {
  const bool first = rank_mass_.empty();
  const std::size_t size = order_.size();
  std::uint8_t above = 0;
  for (std::size_t i = 0; i < page_codes.size(); ++i) {
    const std::size_t k = page_codes[i];
    if (i >= size || k >= size - i) return false;
    const PageId page = take(i, k);
    std::uint8_t predicted = above;
    if (!first) predicted = listed_[page] != 0 ? last_mass_[page] : rank_mass_[std::min(i, rank_mass_.size() - 1)];
    above = static_cast<std::uint8_t>(predicted + mass_shift + unzigzag(mass_codes[i]));
    pages[i] = page;
    mass[i] = last_mass_[page] = above;
    listed_[page] = 1;
  }
  return true;
}

bool RankCodec::decode(std::span<const std::uint32_t> page_codes, std::span<const std::uint8_t> mass_codes,
                       std::uint8_t mass_shift, std::int64_t num_pages, std::span<PageId> pages,
                       std::span<std::uint8_t> mass) {
  start_step(num_pages);
  const auto with = [&](auto take) {
    return decode_entries(page_codes, mass_codes, mass_shift, pages, mass, std::move(take));
  };
  const auto from = [this](auto& list) {
    return [this, &list](std::size_t, std::size_t k) { return order_[list.take(static_cast<std::uint32_t>(k))]; };
  };
  bool good = false;
#if defined(__x86_64__)
  if (ShortList<1>::available() && order_.size() <= ShortList<2>::kMostPositions) {
    if (order_.size() <= ShortList<1>::kMostPositions) {
      ShortList<1> left;
      good = with(from(left));
    } else {
      ShortList<2> left;
      good = with(from(left));
    }
  } else
#endif
      if (order_.size() <= kShortList) {
    // Taking a page moves the better ones of R up by one: a few hundred bytes, cheaper than any bookkeeping.
    good = with([this](std::size_t i, std::size_t k) {
      PageId* left = order_.data() + i;
      const PageId page = left[k];
      std::memmove(left + 1, left, k * sizeof(PageId));
      return page;
    });
  } else {
    remaining_.fill(order_.size());
    good = with(from(remaining_));
  }
  if (good) finish_step(pages, mass);
  return good;
}

}  // namespace retrosim
