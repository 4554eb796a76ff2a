#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include "kernels/cuda_step/decode_state.h"
#include "kernels/cuda_step/random_fill.h"
#include "kernels/page_summary/page_summary_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

template <typename T>
DeviceBuffer<T> zeroed(std::int64_t count, int byte = 0) {
  DeviceBuffer<T> buffer(static_cast<std::size_t>(count));
  if (count > 0) buffer.fill_bytes(byte);
  return buffer;
}

}  // namespace

DecodeState::DecodeState(const DecodeConfig& config, std::int64_t context_limit, std::uint64_t seed, PageOwner owner)
    : batch(config.batch),
      max_context(context_limit),
      max_pages((context_limit + config.page_size - 1) / config.page_size),
      k_max(1),
      window(config.window),
      kv_shape{.num_pages = (owner == PageOwner::batch ? 1 : config.batch) * max_pages,
               .num_kv_heads = config.llm.num_kv_heads,
               .page_size = config.page_size,
               .head_dim = config.llm.head_dim},
      kv_dtype(config.kv_dtype) {
  if (config.context > max_context) {
    throw InputError("", "context", std::to_string(config.context),
                     "at most " + std::to_string(max_context) + " tokens");
  }
  const DType activations = activation_dtype(kv_dtype);
  const std::int64_t q_heads = config.llm.num_q_heads;
  const std::int64_t lists = batch * config.llm.num_kv_heads;
  for (int i = 0; i < config.llm.num_layers; ++i) {
    DecodeLayerState layer;
    layer.kv = zeroed<unsigned char>(bytes_of(kv_dtype, kv_shape.kv_size()));
    if (config.is_sparse(i) && config.policy->keeps_page_summaries()) {
      layer.summaries = zeroed<unsigned char>(bytes_of(activations, kv_shape.summary_size()));
    }
    if (config.rows_per_sequence(i) > 1) {
      layer.last_loaded = zeroed<std::int32_t>(lists * max_pages, 0xff);
      const std::int64_t entries = (window - 1) * batch * q_heads;
      layer.cache_values = zeroed<unsigned char>(bytes_of(activations, entries * config.llm.head_dim));
      layer.cache_lse = zeroed<float>(entries);
    }
    layers.push_back(std::move(layer));
  }

  std::vector<std::int32_t> pages(static_cast<std::size_t>(kv_shape.num_pages));
  std::iota(pages.begin(), pages.end(), 0);
  std::mt19937_64 random(seed);
  for (std::size_t i = pages.size(); i > 1; --i) std::swap(pages[i - 1], pages[random() % i]);
  if (owner == PageOwner::batch) {
    const std::vector<std::int32_t> of_one = pages;
    for (std::int64_t b = 1; b < batch; ++b) pages.insert(pages.end(), of_one.begin(), of_one.end());
  }
  physical = DeviceBuffer<std::int32_t>(pages);

  // The last step leaves a context of max_context + 1, at which none may start, and looks up its k.
  pages_by_context_host_.assign(static_cast<std::size_t>(max_context) + 2, 1);
  for (std::int64_t context = 1; context <= max_context; ++context) {
    const std::int64_t num_pages = (context + config.page_size - 1) / config.page_size;
    const std::int64_t k = config.policy->pages_selected(num_pages, config.page_size);
    pages_by_context_host_[static_cast<std::size_t>(context)] = static_cast<std::int32_t>(k);
    k_max = std::max(k_max, k);
  }
  pages_by_context = DeviceBuffer<std::int32_t>(pages_by_context_host_);
  context_lens = zeroed<std::int32_t>(batch);
  num_rows = zeroed<std::int32_t>(batch);
  selected_pages = zeroed<std::int32_t>(batch);
  one_row = DeviceBuffer<std::int32_t>(std::vector<std::int32_t>(static_cast<std::size_t>(batch), 1));
  tokens = zeroed<std::int32_t>(batch * window);
  hidden_cache = zeroed<unsigned char>(bytes_of(activations, window * batch * config.llm.hidden_size));
  sample_scratch = zeroed<SampleScratch>(batch);
  set_position(config.context, 1);
}

void DecodeState::fill_random(std::uint64_t seed, cudaStream_t stream) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    cuda::fill_random(layers[i].kv.data(), kv_dtype, kv_shape.kv_size(), 1.7320508F, seed * 1000 + i, stream);
  }
  rebuild_summaries(stream);
}

void DecodeState::rebuild_summaries(cudaStream_t stream) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].summaries.size() == 0) continue;
    build_page_summaries(kv_cache(static_cast<int>(i)), page_table(), layers[i].summaries.data(), stream);
  }
}

void DecodeState::set_position(std::int64_t context, int rows) {
  if (context < 1 || context > max_context) {
    throw InputError("", "context", std::to_string(context), "1 to " + std::to_string(max_context) + " tokens");
  }
  const auto count = static_cast<std::size_t>(batch);
  context_lens.upload(std::vector<std::int32_t>(count, static_cast<std::int32_t>(context)));
  num_rows.upload(std::vector<std::int32_t>(count, static_cast<std::int32_t>(rows)));
  selected_pages.upload(std::vector<std::int32_t>(count, pages_by_context_host_[static_cast<std::size_t>(context)]));
}

void DecodeState::set_sequences(std::span<const std::int32_t> lens, std::span<const std::int32_t> current) {
  std::vector<std::int32_t> k;
  std::vector<std::int32_t> block(static_cast<std::size_t>(batch * window), 0);
  for (std::size_t b = 0; b < lens.size(); ++b) {
    k.push_back(pages_by_context_host_.at(static_cast<std::size_t>(lens[b])));
    block[b * static_cast<std::size_t>(window)] = current[b];
  }
  context_lens.upload(lens);
  num_rows.upload(std::vector<std::int32_t>(static_cast<std::size_t>(batch), 1));
  selected_pages.upload(k);
  tokens.upload(block);
}

DeviceKvCache DecodeState::kv_cache(int layer) {
  return {.shape = kv_shape, .dtype = kv_dtype, .data = layers[static_cast<std::size_t>(layer)].kv.data()};
}

DevicePageTable DecodeState::page_table() const {
  return {.batch = batch, .max_pages = max_pages, .physical = physical.data(), .context_lens = context_lens.data()};
}

}  // namespace retrosim::kernels::cuda
