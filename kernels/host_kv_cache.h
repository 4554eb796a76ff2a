// Pages of keys, values and summaries of every layer of a host decoder. Several decoders may share one: each writes to
// pages of its own and reads those of a common prompt.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/paged_kv.h"
#include "model/llm_spec.h"

namespace retrosim::kernels {

class DenseForward;

struct HostKvCache {
  struct Layer {
    // [num_pages, num_kv_heads, 2 (K, V), page_size, head_dim]
    std::vector<float> kv;
    // [num_pages, num_kv_heads, 2 (min, max), head_dim]; empty where the layer keeps none
    std::vector<float> summaries;
  };

  /// Zeroed. first_summarised: first layer that keeps summaries.
  HostKvCache(const LlmSpec& llm, int page_size, std::int64_t num_pages, int first_summarised);

  /// Copies the keys and values of the forward pass' first `tokens` tokens into physical pages 0, 1, ..., and makes the
  /// summaries of those pages.
  void adopt(const DenseForward& forward, std::int64_t tokens);

  /// Copies one physical page, in all layers.
  void copy_page(std::int64_t from, std::int64_t to);

  KvShape shape;
  std::vector<Layer> layers;
};

}  // namespace retrosim::kernels
