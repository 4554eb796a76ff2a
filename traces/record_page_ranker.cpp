#include "traces/record_page_ranker.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace retrosim {
namespace {

constexpr int kDigitBits = 8;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;
constexpr int kPasses = 4;  // of the 32 bits of a score

// The bits of a number that ascends as the score descends.
std::uint32_t descending_bits(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);  // -0 and 0 are one score
  return ~((bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U);
}

struct ScoredPage {
  std::uint32_t key;
  PageId page;
};

// Stable radix sort by key, lowest digit first: several times as fast as comparisons, whose branches nobody can guess.
void sort_by_key(std::vector<ScoredPage>& pages, std::vector<ScoredPage>& other) {
  std::array<std::array<std::uint32_t, kDigits>, kPasses> starts{};
  for (const ScoredPage& page : pages) {
    for (int pass = 0; pass < kPasses; ++pass) ++starts[pass][page.key >> (pass * kDigitBits) & (kDigits - 1)];
  }
  other.resize(pages.size());
  for (int pass = 0; pass < kPasses; ++pass) {
    auto& start = starts[pass];
    const int shift = pass * kDigitBits;
    if (start[pages.front().key >> shift & (kDigits - 1)] == pages.size()) continue;  // one digit: in order already
    std::uint32_t before = 0;
    for (std::uint32_t& count : start) before += std::exchange(count, before);
    for (const ScoredPage& page : pages) other[start[page.key >> shift & (kDigits - 1)]++] = page;
    pages.swap(other);
  }
}

}  // namespace

void order_pages(std::span<const float> scores, std::span<const float> mass, std::int64_t top_m, PageRanks& ranks) {
  thread_local std::vector<ScoredPage> order, other;
  const auto pages = static_cast<std::int64_t>(scores.size());
  order.resize(scores.size());
  for (std::size_t page = 0; page < scores.size(); ++page) {
    order[page] = {.key = descending_bits(scores[page]), .page = static_cast<PageId>(page)};
  }
  if (pages > 1) sort_by_key(order, other);
  const auto listed = top_m > 0 && top_m < pages ? top_m : pages;
  ranks.pages.resize(static_cast<std::size_t>(listed));
  ranks.mass.resize(static_cast<std::size_t>(listed));
  for (std::int64_t i = 0; i < listed; ++i) {
    const PageId page = order[i].page;
    ranks.pages[i] = page;
    ranks.mass[i] = std::min(mass[page], 1.0F);
  }
  double rest = 0;
  for (std::int64_t i = listed; i < pages; ++i) rest += mass[order[i].page];
  ranks.rest = static_cast<float>(std::min(rest, 1.0));
}

PageRanker::PageRanker(const LlmSpec& llm, std::vector<int> layers, std::int64_t page_size, std::int64_t max_tokens,
                       std::int64_t top_m)
    : llm_(llm),
      layers_(std::move(layers)),
      page_size_(page_size),
      max_pages_((max_tokens + page_size - 1) / page_size),
      top_m_(top_m),
      math_(kernels::forward_math()) {
  const auto floats = static_cast<std::size_t>(llm.num_kv_heads * max_pages_ * 2 * llm.head_dim);
  summaries_.assign(layers_.size(), std::vector<float>(floats));
}

int PageRanker::slot_of(int layer) const {
  const auto found = std::lower_bound(layers_.begin(), layers_.end(), layer);
  return found != layers_.end() && *found == layer ? static_cast<int>(found - layers_.begin()) : -1;
}

void PageRanker::expect(std::int64_t first_position, std::int64_t count) {
  first_position_ = first_position;
  count_ = count;
  ranks_.resize(static_cast<std::size_t>(count) * layers_.size() * static_cast<std::size_t>(llm_.num_kv_heads));
}

const PageRanks& PageRanker::ranks(std::int64_t step, std::size_t slot, std::int64_t kv_head) const {
  return ranks_[(static_cast<std::size_t>(step) * layers_.size() + slot) * llm_.num_kv_heads + kv_head];
}

void PageRanker::keys_ready(int layer, std::int64_t first_position, std::int64_t count, const float* keys,
                            std::int64_t head_stride) {
  keys_ = keys;
  head_stride_ = head_stride;
  const std::int64_t d = llm_.head_dim;
  std::vector<float>& summaries = summaries_[static_cast<std::size_t>(slot_of(layer))];
  for (std::int64_t head = 0; head < llm_.num_kv_heads; ++head) {
    for (std::int64_t page = first_position / page_size_; (page + 1) * page_size_ <= first_position + count; ++page) {
      const float* key = keys + head * head_stride + page * page_size_ * d;
      float* high = &summaries[(head * max_pages_ + page) * 2 * d];
      float* low = high + d;
      std::copy_n(key, d, high);
      std::copy_n(key, d, low);
      for (std::int64_t slot = 1; slot < page_size_; ++slot) {
        for (std::int64_t i = 0; i < d; ++i) {
          high[i] = std::max(high[i], key[slot * d + i]);
          low[i] = std::min(low[i], key[slot * d + i]);
        }
      }
    }
  }
}

// Quest's bound of query `row` of group head `head` over the page it stands on, whose keys end at its own position.
float PageRanker::score_of_open_page(const kernels::AttentionBlock& block, std::int64_t row, std::int64_t head) const {
  const std::int64_t d = llm_.head_dim;
  const std::int64_t position = block.first_position + row;
  const std::int64_t start = position / page_size_ * page_size_;
  const float* q = block.q + (head * block.rows + row) * d;
  const float* keys = keys_ + block.kv_head * head_stride_ + start * d;
  double sum = 0;
  for (std::int64_t i = 0; i < d; ++i) {
    float best = q[i] * keys[i];
    for (std::int64_t slot = 1; slot <= position - start; ++slot) best = std::max(best, q[i] * keys[slot * d + i]);
    sum += best;
  }
  return static_cast<float>(sum);
}

// scores: [group, rows, pages of the last row]; pages that are complete at the end of the block only.
void PageRanker::score_rows(const kernels::AttentionBlock& block, std::vector<float>& scores) const {
  const std::int64_t d = llm_.head_dim;
  const std::int64_t pages = (block.first_position + block.rows - 1) / page_size_ + 1;
  const std::int64_t complete = (block.first_position + block.rows) / page_size_;
  // score = q+ * kmax + q- * kmin with q+ = max(q, 0), q- = min(q, 0): one product (method.md, "Page selection").
  thread_local std::vector<float> halves;
  halves.resize(static_cast<std::size_t>(block.group * block.rows * 2 * d));
  for (std::int64_t row = 0; row < block.group * block.rows; ++row) {
    for (std::int64_t i = 0; i < d; ++i) {
      const float q = block.q[row * d + i];
      halves[row * 2 * d + i] = std::max(q, 0.0F);
      halves[row * 2 * d + d + i] = std::min(q, 0.0F);
    }
  }
  scores.resize(static_cast<std::size_t>(block.group * block.rows * pages));
  const std::vector<float>& summaries = summaries_[static_cast<std::size_t>(slot_of(block.layer))];
  math_.multiply_transposed(block.group * block.rows, complete, 2 * d, halves.data(), 2 * d,
                            &summaries[block.kv_head * max_pages_ * 2 * d], 2 * d, scores.data(), pages);
}

void PageRanker::attention(const kernels::AttentionBlock& block) {
  if (count_ == 0) return;
  const std::int64_t stride = (block.first_position + block.rows - 1) / page_size_ + 1;
  thread_local std::vector<float> scores, mass, head_mass, best;
  score_rows(block, scores);
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const std::int64_t position = block.first_position + row;
    const std::int64_t pages = position / page_size_ + 1;
    const bool page_is_open = (position + 1) % page_size_ != 0;
    mass.assign(static_cast<std::size_t>(pages), 0.0F);
    head_mass.resize(mass.size());
    for (std::int64_t head = 0; head < block.group; ++head) {
      const std::int64_t i = head * block.rows + row;
      math_.block_sums(block.weights + i * block.stride, position + 1, page_size_,
                       1.0F / (block.sums[i] * static_cast<float>(block.group)), head_mass.data());
      for (std::size_t page = 0; page < mass.size(); ++page) mass[page] += head_mass[page];
      if (page_is_open) scores[i * stride + pages - 1] = score_of_open_page(block, row, head);
    }
    best.resize(mass.size());
    for (std::int64_t page = 0; page < pages; ++page) {
      best[page] = scores[row * stride + page];
      for (std::int64_t head = 1; head < block.group; ++head) {
        best[page] = std::max(best[page], scores[(head * block.rows + row) * stride + page]);
      }
    }
    const std::int64_t step = position - first_position_;
    order_pages(best, mass, top_m_,
                ranks_[(step * static_cast<std::int64_t>(layers_.size()) + slot_of(block.layer)) * llm_.num_kv_heads +
                       block.kv_head]);
  }
}

}  // namespace retrosim
