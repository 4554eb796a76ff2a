// What the GPU tests share: rounding host data to stored types, NaN-safe comparison, skipping without a GPU.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda/paged_kv_device.h"
#include "model/dtype.h"
#include "tests/kernels/random_kv.h"

/// First line of a GPU test.
#define RETROSIM_NEED_GPU() \
  if (!retrosim::kernels::cuda::gpu_available()) GTEST_SKIP() << "no GPU of compute capability 8.0 or later"

namespace retrosim::kernels::cuda {

/// `values` in `dtype`, as bytes, and rounded to it in place. `scale` is fp8's: value = stored * scale.
inline std::vector<std::uint8_t> store_as(DType dtype, std::span<float> values, float scale = 1.0F) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(bytes_of(dtype, static_cast<std::int64_t>(values.size()))));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::bf16) {
      const __nv_bfloat16 stored = __float2bfloat16(values[i]);
      std::memcpy(&bytes[i * 2], &stored, 2);
      values[i] = __bfloat162float(stored);
    } else if (dtype == DType::fp8_e4m3) {
      const __nv_fp8_e4m3 stored(values[i] / scale);
      std::memcpy(&bytes[i], &stored, 1);
      values[i] = static_cast<float>(stored) * scale;
    } else {
      std::memcpy(&bytes[i * 4], &values[i], 4);
    }
  }
  return bytes;
}

inline std::vector<float> load_from(DType dtype, const std::vector<std::uint8_t>& bytes) {
  std::vector<float> values(bytes.size() * 8 / static_cast<std::size_t>(bits_of(dtype)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::bf16) {
      __nv_bfloat16 stored;
      std::memcpy(&stored, &bytes[i * 2], 2);
      values[i] = __bfloat162float(stored);
    } else {
      std::memcpy(&values[i], &bytes[i * 4], 4);
    }
  }
  return values;
}

/// 100 % of the elements within absolute + relative * |expected|; NaN never passes, equal infinities do.
inline void expect_close(std::span<const float> actual, std::span<const float> expected, double absolute,
                         double relative, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  std::size_t wrong = 0;
  double worst = 0;
  std::size_t worst_at = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isinf(expected[i]) && actual[i] == expected[i]) continue;
    const double difference = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(difference <= absolute + relative * std::abs(static_cast<double>(expected[i])))) {
      if (wrong == 0 || difference > worst) {
        worst = difference;
        worst_at = i;
      }
      ++wrong;
    }
  }
  EXPECT_EQ(wrong, 0U) << what << ": of " << actual.size() << ", worst at " << worst_at << ": got " << actual[worst_at]
                       << ", expected " << expected[worst_at];
}

/// ||actual - expected|| / ||expected||; NaN if anything is.
inline double relative_error(std::span<const float> actual, std::span<const float> expected) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double delta = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    difference += delta * delta;
    size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference / (size > 0 ? size : 1));
}

/// A paged cache whose tokens beyond the context and unused pages are NaN on the device; the host's copy holds the
/// rounded values.
struct GpuKv {
  GpuKv(RandomKv random_kv, DType dtype, float k_scale = 1.0F, float v_scale = 1.0F) : host(std::move(random_kv)) {
    const KvShape& shape = host.shape;
    const auto half = static_cast<std::size_t>(shape.page_size * shape.head_dim);
    std::vector<std::uint8_t> bytes;
    for (std::size_t at = 0, part = 0; at < host.cache.size(); at += half, ++part) {
      const auto stored = store_as(dtype, std::span(host.cache).subspan(at, half), part % 2 == 0 ? k_scale : v_scale);
      bytes.insert(bytes.end(), stored.begin(), stored.end());
    }
    std::vector<std::uint8_t> with_poison(bytes.size(), 0xff);
    const auto token_bytes = static_cast<std::size_t>(bytes_of(dtype, shape.head_dim));
    for (std::size_t b = 0; b < host.context_lens.size(); ++b) {
      for (std::int64_t position = 0; position < host.context_lens[b]; ++position) {
        const std::int64_t page = host.table().page(static_cast<std::int64_t>(b), position / shape.page_size);
        for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
          for (const std::int64_t offset : {shape.key_offset(page, head, position % shape.page_size),
                                            shape.value_offset(page, head, position % shape.page_size)}) {
            const auto at = static_cast<std::size_t>(bytes_of(dtype, offset));
            std::memcpy(&with_poison[at], &bytes[at], token_bytes);
          }
        }
      }
    }
    data = DeviceBuffer<std::uint8_t>(with_poison);
    physical = DeviceBuffer<std::int32_t>(host.physical);
    context_lens = DeviceBuffer<std::int32_t>(host.context_lens);
    cache = {.shape = shape, .dtype = dtype, .data = data.data(), .k_scale = k_scale, .v_scale = v_scale};
    table = {.batch = static_cast<std::int64_t>(host.context_lens.size()),
             .max_pages = host.max_pages,
             .physical = physical.data(),
             .context_lens = context_lens.data()};
  }

  RandomKv host;
  DeviceBuffer<std::uint8_t> data;
  DeviceBuffer<std::int32_t> physical;
  DeviceBuffer<std::int32_t> context_lens;
  DeviceKvCache cache;
  DevicePageTable table;
};

}  // namespace retrosim::kernels::cuda
