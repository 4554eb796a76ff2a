#include "traces/rank_codec.h"

#include <algorithm>

namespace retrosim {
namespace {

std::uint8_t zigzag_mass(std::uint8_t value, std::uint8_t predicted) {
  const auto difference = static_cast<std::int8_t>(static_cast<std::uint8_t>(value - predicted));
  return static_cast<std::uint8_t>((difference << 1) ^ (difference >> 7));
}

std::uint8_t unzigzag_mass(std::uint8_t code, std::uint8_t predicted) {
  return static_cast<std::uint8_t>(predicted + ((code >> 1) ^ (0 - (code & 1))));
}

}  // namespace

void RankCodec::reset() {
  order_.clear();
  listed_at_.clear();
  last_mass_.clear();
  step_ = 0;
}

void RankCodec::grow(std::int64_t num_pages) {
  for (auto page = static_cast<PageId>(order_.size()); page < num_pages; ++page) order_.push_back(page);
  listed_at_.resize(order_.size(), 0);
  last_mass_.resize(order_.size(), 0);
  ++step_;
}

void RankCodec::finish_step(std::span<const PageId> pages) {
  if (pages.size() == order_.size()) {
    std::copy(pages.begin(), pages.end(), order_.begin());
    return;
  }
  scratch_.assign(pages.begin(), pages.end());
  for (PageId page = 0; page < order_.size(); ++page) {
    if (listed_at_[page] != step_) scratch_.push_back(page);
  }
  order_.swap(scratch_);
}

void RankCodec::encode(std::span<const PageId> pages, std::span<const std::uint8_t> mass, std::int64_t num_pages,
                       std::span<std::uint32_t> page_codes, std::span<std::uint8_t> mass_codes) {
  grow(num_pages);
  place_.resize(order_.size());
  for (std::uint32_t i = 0; i < order_.size(); ++i) place_[order_[i]] = i;
  std::uint8_t above = 0;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const PageId page = pages[i];
    std::int64_t distance = static_cast<std::int64_t>(place_[page]) - static_cast<std::int64_t>(i);
    if (distance < -(num_pages / 2)) distance += num_pages;
    if (distance >= num_pages - num_pages / 2) distance -= num_pages;
    page_codes[i] = static_cast<std::uint32_t>(distance < 0 ? -2 * distance - 1 : 2 * distance);
    mass_codes[i] = zigzag_mass(mass[i], listed_at_[page] != 0 ? last_mass_[page] : above);
    listed_at_[page] = step_;
    last_mass_[page] = above = mass[i];
  }
  finish_step(pages);
}

bool RankCodec::decode(std::span<const std::uint32_t> page_codes, std::span<const std::uint8_t> mass_codes,
                       std::int64_t num_pages, std::span<PageId> pages, std::span<std::uint8_t> mass) {
  grow(num_pages);
  const std::int64_t n = num_pages;
  std::uint8_t above = 0;
  for (std::size_t i = 0; i < page_codes.size(); ++i) {
    const std::uint32_t code = page_codes[i];
    const std::int64_t half = code >> 1;
    std::int64_t j = static_cast<std::int64_t>(i) + ((code & 1) != 0 ? -half - 1 : half);
    if (j < 0) j += n;
    if (j >= n) j -= n;
    if (j < 0 || j >= n) return false;
    const PageId page = order_[static_cast<std::size_t>(j)];
    const std::uint32_t listed = listed_at_[page];
    if (listed == step_) return false;
    above = unzigzag_mass(mass_codes[i], listed != 0 ? last_mass_[page] : above);
    pages[i] = page;
    mass[i] = above;
    listed_at_[page] = step_;
    last_mass_[page] = above;
  }
  finish_step(pages);
  return true;
}

}  // namespace retrosim
