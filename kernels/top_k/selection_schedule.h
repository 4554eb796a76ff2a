// Page selections decided in advance, step by step: what drives a decode by a recorded trace.
#pragma once

#include <cstdint>
#include <vector>

namespace retrosim {

/// At context first_context + i tokens (the current one included), every sequence's selections are those of step i.
struct SelectionSchedule {
  struct Layer {
    // [num_steps, batch, num_kv_heads, k_max] ascending logical page ids; entries beyond the count are unused
    std::vector<std::int32_t> pages = {};
    // [num_steps, batch, num_kv_heads]
    std::vector<std::int32_t> counts = {};
  };

  std::int64_t first_context = 0;
  std::int64_t num_steps = 0;
  std::int64_t batch = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t k_max = 0;
  std::vector<Layer> layers = {};  // [layers of the model]; empty where a layer is dense
};

}  // namespace retrosim
