// Prefill attention and page recall on the GPU against their references.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "kernels/attention/attention.h"
#include "kernels/page_recall/page_recall_cuda.h"
#include "kernels/prefill_attention/prefill_attention_cuda.h"
#include "tests/kernels/cuda_test_support.h"

namespace retrosim::kernels::cuda {
namespace {

struct PrefillCase {
  DType dtype;
  std::int64_t head_dim, page_size, new_tokens, sliding_window;
};
class PrefillAttentionCuda : public ::testing::TestWithParam<PrefillCase> {};
INSTANTIATE_TEST_SUITE_P(
    Shapes, PrefillAttentionCuda,
    ::testing::Values(PrefillCase{DType::f32, 64, 8, 5, 0}, PrefillCase{DType::f32, 80, 16, 40, 17},
                      PrefillCase{DType::bf16, 64, 16, 100, 0}, PrefillCase{DType::bf16, 128, 16, 65, 0},
                      PrefillCase{DType::bf16, 128, 16, 1, 0}, PrefillCase{DType::bf16, 128, 8, 100, 50},
                      PrefillCase{DType::bf16, 256, 32, 70, 0}, PrefillCase{DType::fp8_e4m3, 128, 16, 90, 0}));

TEST_P(PrefillAttentionCuda, EqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const PrefillCase c = GetParam();
  const std::int64_t q_heads = 6, kv_heads = 2;
  std::mt19937 random(21);
  // Ragged: nothing before the new tokens, a page and a bit, several tiles.
  const auto n = static_cast<std::int32_t>(c.new_tokens);
  const GpuKv kv(RandomKv({n, n + 17, n + 200}, kv_heads, c.page_size, c.head_dim, random), c.dtype,
                 c.dtype == DType::fp8_e4m3 ? 0.05F : 1.0F, c.dtype == DType::fp8_e4m3 ? 0.07F : 1.0F);
  const DType activations = activation_dtype(c.dtype);
  std::vector<float> q = random_floats(3 * c.new_tokens * q_heads * c.head_dim, random);
  const DeviceBuffer<std::uint8_t> device_q(store_as(activations, q));
  DeviceBuffer<std::uint8_t> out(device_q.size());
  out.fill_bytes(0xff);
  prefill_attention({.cache = kv.cache,
                     .table = kv.table,
                     .num_q_heads = q_heads,
                     .new_tokens = c.new_tokens,
                     .sliding_window = c.sliding_window,
                     .q = device_q.data(),
                     .out = out.data()},
                    nullptr);
  std::vector<float> expected(q.size());
  host::prefill_attention(kv.host.shape, kv.host.table(), q_heads, c.new_tokens, c.sliding_window, q, kv.host.cache,
                          expected);
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  const double tolerance = activations == DType::f32 ? 1e-5 : 1.5e-2;  // bf16 probabilities and outputs
  expect_close(load_from(activations, out.download()), expected, tolerance, tolerance, "prefill_attention");
}

TEST(PageRecallCuda, KernelAndCopyEngineMoveTheListedPages) {
  RETROSIM_NEED_GPU();
  constexpr std::int64_t kPageBytes = 4096 + 16;
  constexpr int kHostPages = 300;
  constexpr int kDevicePages = 200;
  constexpr int kCount = 150;
  std::uint8_t* host_pages = nullptr;
  RETROSIM_CUDA_CHECK(
      cudaHostAlloc(reinterpret_cast<void**>(&host_pages), kHostPages * kPageBytes, cudaHostAllocMapped));
  std::mt19937 random(2);
  for (std::int64_t i = 0; i < kHostPages * kPageBytes; ++i) host_pages[i] = static_cast<std::uint8_t>(random());
  std::vector<std::int32_t> from(kHostPages), to(kDevicePages);
  std::iota(from.begin(), from.end(), 0);
  std::iota(to.begin(), to.end(), 0);
  std::shuffle(from.begin(), from.end(), random);
  std::shuffle(to.begin(), to.end(), random);
  from.resize(kDevicePages);
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(kDevicePages * kPageBytes), 0x77);  // others stay
  for (int i = 0; i < kCount; ++i) {
    std::copy_n(host_pages + from[static_cast<std::size_t>(i)] * kPageBytes, kPageBytes,
                &expected[static_cast<std::size_t>(to[static_cast<std::size_t>(i)] * kPageBytes)]);
  }
  const DeviceBuffer<std::int32_t> device_from(from), device_to(to), count(std::vector<std::int32_t>{kCount});
  cudaStream_t stream = nullptr;
  RETROSIM_CUDA_CHECK(cudaStreamCreate(&stream));
  DeviceBuffer<std::uint8_t> pages(expected.size());
  pages.fill_bytes(0x77);
  recall_pages({.host_pages = host_pages,
                .device_pages = pages.data(),
                .bytes_per_page = kPageBytes,
                .max_count = kDevicePages,
                .from = device_from.data(),
                .to = device_to.data(),
                .count = count.data()},
               stream);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  EXPECT_EQ(pages.download(), expected);
  pages.fill_bytes(0x77);
  copy_pages(host_pages, pages.data(), kPageBytes, std::span(from).first(kCount), std::span(to).first(kCount), stream);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  EXPECT_EQ(pages.download(), expected);
  RETROSIM_CUDA_CHECK(cudaStreamDestroy(stream));
  RETROSIM_CUDA_CHECK(cudaFreeHost(host_pages));
}

}  // namespace
}  // namespace retrosim::kernels::cuda
