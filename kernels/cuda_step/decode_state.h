// What a batch of sequences keeps between decode steps, on the device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda/paged_kv_device.h"
#include "kernels/sample/sample_cuda.h"
#include "model/decode_config.h"

namespace retrosim::kernels::cuda {

struct DecodeLayerState {
  DeviceBuffer<unsigned char> kv;         // [physical pages, kv heads, 2, page_size, head_dim]
  DeviceBuffer<unsigned char> summaries;  // [physical pages, kv heads, 2, head_dim]; sparse layers
  DeviceBuffer<float> given_scores;       // [batch, kv heads, max_pages]: ranks pages instead of the layer's own scores
  // Layers that revise older rows:
  DeviceBuffer<std::int32_t> last_loaded;    // [batch, kv heads, max_pages], -1: never
  DeviceBuffer<unsigned char> cache_values;  // [window - 1, batch, q heads, head_dim]
  DeviceBuffer<float> cache_lse;             // [window - 1, batch, q heads]
};

/// Whose pages a sequence has: its own, or those of the one text whose positions the "sequences" of a batch are, as
/// when a prompt runs through the decode kernels, many of its tokens in one step.
enum class PageOwner : std::uint8_t { sequence, batch };

class DecodeState {
 public:
  /// Room for `max_context` tokens per sequence. Physical pages are handed out in an order drawn from `seed`.
  /// Everything but the page table starts as 0 (last_loaded as -1), with `config.context` tokens per sequence, the
  /// current one included.
  DecodeState(const DecodeConfig& config, std::int64_t max_context, std::uint64_t seed,
              PageOwner owner = PageOwner::sequence);

  /// Random keys and values of all layers, and their summaries: what prefill would have left.
  void fill_random(std::uint64_t seed, cudaStream_t stream);
  /// Rebuilds the summaries of all sparse layers from the keys.
  void rebuild_summaries(cudaStream_t stream);
  /// Puts every sequence at `context` tokens with `rows` rows that exist; keeps the caches.
  void set_position(std::int64_t context, int rows);
  /// Sequence lengths one by one (a ragged batch), and the current token of each; one row exists.
  void set_sequences(
      // [batch] tokens, the current one included
      std::span<const std::int32_t> context_lens,
      // [batch]
      std::span<const std::int32_t> tokens);

  DeviceKvCache kv_cache(int layer);
  DevicePageTable page_table() const;

  std::int64_t batch;
  std::int64_t max_context;
  std::int64_t max_pages;
  std::int64_t k_max;  // most pages that a list can select
  int window;
  KvShape kv_shape;
  DType kv_dtype;
  std::vector<DecodeLayerState> layers;
  DeviceBuffer<std::int32_t> physical;          // [batch, max_pages]
  DeviceBuffer<std::int32_t> context_lens;      // [batch]
  DeviceBuffer<std::int32_t> num_rows;          // [batch]
  DeviceBuffer<std::int32_t> one_row;           // [batch] of 1
  DeviceBuffer<std::int32_t> selected_pages;    // [batch] k
  DeviceBuffer<std::int32_t> pages_by_context;  // [max_context + 2] k
  DeviceBuffer<std::int32_t> tokens;            // [batch, window]
  DeviceBuffer<unsigned char> hidden_cache;     // [window, batch, hidden]
  DeviceBuffer<SampleScratch> sample_scratch;   // [batch]

 private:
  std::vector<std::int32_t> pages_by_context_host_;
};

}  // namespace retrosim::kernels::cuda
