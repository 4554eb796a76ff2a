// Where the keys, values and page summaries of one layer lie; the same on the host and on the GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace retrosim::kernels {

/// One layer's KV cache: [num_pages, num_kv_heads, 2 (K, V), page_size, head_dim], row-major; its page summaries:
/// [num_pages, num_kv_heads, 2 (min, max), head_dim]. Pages are physical ones. Offsets are in elements.
struct KvShape {
  std::int64_t num_pages = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t page_size = 0;  // tokens
  std::int64_t head_dim = 0;

  constexpr std::int64_t kv_size() const { return num_pages * num_kv_heads * 2 * page_size * head_dim; }
  constexpr std::int64_t summary_size() const { return num_pages * num_kv_heads * 2 * head_dim; }
  constexpr std::int64_t key_offset(std::int64_t page, std::int64_t head, std::int64_t slot) const {
    return ((page * num_kv_heads + head) * 2 * page_size + slot) * head_dim;
  }
  constexpr std::int64_t value_offset(std::int64_t page, std::int64_t head, std::int64_t slot) const {
    return key_offset(page, head, slot) + page_size * head_dim;
  }
  constexpr std::int64_t min_offset(std::int64_t page, std::int64_t head) const {
    return (page * num_kv_heads + head) * 2 * head_dim;
  }
  constexpr std::int64_t max_offset(std::int64_t page, std::int64_t head) const {
    return min_offset(page, head) + head_dim;
  }
};

/// Which physical pages hold each sequence, and how long it is. The current token is at position context_len - 1.
struct PageTable {
  std::int64_t batch = 0;
  std::int64_t max_pages = 0;  // columns of `physical`
  // [batch, max_pages] physical page of each logical page
  std::span<const std::int32_t> physical;
  // [batch] tokens in the cache, the current one included
  std::span<const std::int32_t> context_lens;

  std::int64_t context_len(std::int64_t sequence) const { return context_lens[static_cast<std::size_t>(sequence)]; }
  std::int64_t page(std::int64_t sequence, std::int64_t logical_page) const {
    return physical[static_cast<std::size_t>(sequence * max_pages + logical_page)];
  }
  std::int64_t num_pages(std::int64_t sequence, std::int64_t page_size) const {
    return (context_len(sequence) + page_size - 1) / page_size;
  }
};

}  // namespace retrosim::kernels
