// The elementwise kernels and the products of a decoding step against their host references; outputs poisoned.
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "kernels/cuda_step/device_linear.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/matmul/matmul.h"
#include "kernels/page_summary/page_summary.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rms_norm/rms_norm_cuda.h"
#include "kernels/rope_append/rope_append.h"
#include "kernels/rope_append/rope_append_cuda.h"
#include "kernels/sample/sample.h"
#include "kernels/sample/sample_cuda.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/silu_mul/silu_mul_cuda.h"
#include "tests/kernels/cuda_test_support.h"

namespace retrosim::kernels::cuda {
namespace {

using Bytes = DeviceBuffer<std::uint8_t>;

Bytes poisoned(DType dtype, std::int64_t elements) {
  Bytes buffer(static_cast<std::size_t>(bytes_of(dtype, elements)));
  buffer.fill_bytes(0xff);
  return buffer;
}

// Rounds the host's copy too.
Bytes upload(DType dtype, std::span<float> values) { return Bytes(store_as(dtype, values)); }

std::vector<float> fetch(DType dtype, const Bytes& buffer) {
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  return load_from(dtype, buffer.download());
}

// bf16 keeps 8 bits: half a unit in the last place is 2^-9 of the value.
double tolerance(DType dtype) { return dtype == DType::f32 ? 1e-5 : 1.0 / 256; }

class Dtypes : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Activations, Dtypes, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& param) { return std::string(name_of(param.param)); });

struct Product {
  std::int64_t rows, n, k;
  bool bias;
};
class SkinnyMatmul : public ::testing::TestWithParam<Product> {};
// Sizes that are no multiple of the 16-row and 512-column units, one and several splits, one row to sixteen.
INSTANTIATE_TEST_SUITE_P(Shapes, SkinnyMatmul,
                         ::testing::Values(Product{1, 16, 512, false}, Product{1, 40, 8, true},
                                           Product{2, 100, 520, true}, Product{8, 6144, 4096, false},
                                           Product{7, 1000, 4096, false}, Product{3, 4096, 14336, false},
                                           Product{9, 96, 1024, true}, Product{16, 512, 5120, true},
                                           Product{13, 2304, 576, false}));

TEST_P(SkinnyMatmul, EqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const auto [rows, n, k, bias] = GetParam();
  std::mt19937 random(static_cast<unsigned>(n + k));
  std::vector<float> weights = random_floats(n * k, random);
  std::vector<float> x = random_floats(rows * k, random);
  std::vector<float> bias_values = bias ? random_floats(n, random) : std::vector<float>();
  store_as(DType::bf16, weights);
  store_as(DType::bf16, bias_values);
  const Bytes device_x = upload(DType::bf16, x);
  DeviceLinear linear(n, k, DType::bf16, bias, rows);
  ASSERT_EQ(linear.path(), MatmulPath::skinny);
  linear.upload(weights, bias_values);
  std::vector<float> expected(static_cast<std::size_t>(rows * n));
  host::matmul(rows, n, k, x, weights, bias_values, expected);

  const int sm_count = device_attribute(cudaDevAttrMultiProcessorCount);
  for (const int blocks : {sm_count, 7}) {  // another number of blocks cuts the units elsewhere
    Bytes out(static_cast<std::size_t>(linear.output_bytes(rows)));
    out.fill_bytes(0xff);
    const ProductView view = linear.run(device_x.data(), rows, out.data(), nullptr, blocks,
                                        {.own_bytes = 1 << 16, .next = &linear, .next_bytes = 1 << 16}, nullptr);
    const std::vector<float> raw = fetch(view.dtype, out);
    std::vector<float> actual(expected.size(), 0.0F);
    for (int split = 0; split < view.splits; ++split) {
      for (std::size_t i = 0; i < actual.size(); ++i)
        actual[i] += raw[static_cast<std::size_t>(split) * actual.size() + i];
    }
    // Products of unit variance: a sum of k of them is about sqrt(k) large.
    expect_close(actual, expected, 1e-4 * std::sqrt(static_cast<double>(k)), tolerance(view.dtype), "skinny_matmul");
  }
}

TEST(LtMatmulCuda, EqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const std::int64_t rows = 33, n = 264, k = 520;
  std::mt19937 random(5);
  std::vector<float> weights = random_floats(n * k, random);
  std::vector<float> x = random_floats(rows * k, random);
  std::vector<float> bias = random_floats(n, random);
  store_as(DType::bf16, weights);
  store_as(DType::bf16, bias);
  const Bytes device_x = upload(DType::bf16, x);
  DeviceLinear linear(n, k, DType::bf16, true, rows);
  ASSERT_EQ(linear.path(), MatmulPath::lt);
  linear.upload(weights, bias);
  LtMatmul lt;
  EXPECT_GT(lt.choose(rows, n, k, true), 0);
  Bytes out = poisoned(DType::bf16, rows * n);
  linear.run(device_x.data(), rows, out.data(), &lt, 0, {}, nullptr);
  std::vector<float> expected(static_cast<std::size_t>(rows * n));
  host::matmul(rows, n, k, x, weights, bias, expected);
  expect_close(fetch(DType::bf16, out), expected, 1e-2, tolerance(DType::bf16), "lt_matmul");
}

TEST(PlainMatmulCuda, EqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const std::int64_t rows = 5, n = 77, k = 130;
  std::mt19937 random(6);
  std::vector<float> weights = random_floats(n * k, random);
  std::vector<float> x = random_floats(rows * k, random);
  std::vector<float> bias = random_floats(n, random);
  const Bytes device_x = upload(DType::f32, x);
  DeviceLinear linear(n, k, DType::f32, true, rows);
  linear.upload(weights, bias);
  Bytes out = poisoned(DType::f32, rows * n);
  linear.run(device_x.data(), rows, out.data(), nullptr, 0, {}, nullptr);
  std::vector<float> expected(static_cast<std::size_t>(rows * n));
  host::matmul(rows, n, k, x, weights, bias, expected);
  expect_close(fetch(DType::f32, out), expected, 1e-4, 1e-5, "plain_matmul");
}

TEST_P(Dtypes, AddRmsNormEqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const DType dtype = GetParam();
  for (const std::int64_t hidden : {8, 576, 4096, 12288}) {
    for (const int splits : {0, 1, 3, 4, 7}) {  // 0: nothing is added
      const std::int64_t rows = 3;
      std::mt19937 random(static_cast<unsigned>(hidden + splits));
      std::vector<float> residual = random_floats(rows * hidden, random);
      std::vector<float> gain = random_floats(hidden, random);
      std::vector<float> x = random_floats(rows * hidden * std::max(splits, 1), random);
      const DType x_dtype = splits > 1 ? DType::f32 : dtype;
      Bytes device_residual = upload(dtype, residual);
      const Bytes device_gain = upload(dtype, gain);
      const Bytes device_x = upload(x_dtype, x);
      Bytes y = poisoned(dtype, rows * hidden);
      AddRmsNormArgs args{.batch = rows,
                          .hidden_size = hidden,
                          .dtype = dtype,
                          .residual_in = device_residual.data(),
                          .residual_out = device_residual.data(),
                          .gain = device_gain.data(),
                          .y = y.data()};
      if (splits > 0) args.x = {device_x.data(), x_dtype, splits, rows * hidden};
      add_rms_norm(args, nullptr);

      std::vector<float> sum(residual.size(), 0.0F);
      for (std::size_t i = 0; splits > 0 && i < x.size(); ++i) sum[i % sum.size()] += x[i];
      std::vector<float> expected(residual.size());
      for (std::size_t i = 0; i < residual.size(); ++i) residual[i] += sum[i];
      store_as(dtype, residual);  // the residual is kept in the activations' dtype
      host::rms_norm(residual, gain, 1e-5, expected);
      const std::string what = "hidden " + std::to_string(hidden) + ", splits " + std::to_string(splits);
      expect_close(fetch(dtype, device_residual), residual, 1e-6, tolerance(dtype), what);
      expect_close(fetch(dtype, y), expected, 1e-2 * tolerance(dtype), 2 * tolerance(dtype), what);
    }
  }
}

TEST_P(Dtypes, AddRmsNormTakesOlderRowsFromItsCache) {
  RETROSIM_NEED_GPU();
  const DType dtype = GetParam();
  const std::int64_t batch = 2, hidden = 64;
  const int window = 3;
  std::mt19937 random(3);
  std::vector<float> cache = random_floats(window * batch * hidden, random);
  std::vector<float> residual = random_floats(batch * hidden, random);
  std::vector<float> gain = random_floats(hidden, random);
  const std::vector<std::int32_t> context_lens{11, 9};  // positions 10 and 8
  Bytes device_cache = upload(dtype, cache);
  const Bytes device_residual = upload(dtype, residual);
  const Bytes device_gain = upload(dtype, gain);
  const DeviceBuffer<std::int32_t> device_lens(context_lens);
  Bytes block = poisoned(dtype, batch * window * hidden);
  Bytes y = poisoned(dtype, batch * window * hidden);
  add_rms_norm({.batch = batch,
                .window_in = 1,
                .window_out = window,
                .hidden_size = hidden,
                .dtype = dtype,
                .residual_in = device_residual.data(),
                .residual_out = block.data(),
                .gain = device_gain.data(),
                .y = y.data(),
                .hidden_cache = device_cache.data(),
                .context_lens = device_lens.data()},
               nullptr);
  std::vector<float> expected(static_cast<std::size_t>(batch * window * hidden));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (int s = 0; s < window; ++s) {
      const int slot = (context_lens[static_cast<std::size_t>(b)] - 1 - s) % window;
      const float* from = s == 0 ? &residual[b * hidden] : &cache[(slot * batch + b) * hidden];
      std::copy_n(from, hidden, &expected[(b * window + s) * hidden]);
    }
    // The current row is stored in the slot of its position.
    const int slot = (context_lens[static_cast<std::size_t>(b)] - 1) % window;
    std::copy_n(&residual[b * hidden], hidden, &cache[(slot * batch + b) * hidden]);
  }
  expect_close(fetch(dtype, block), expected, 0, 0, "block");
  expect_close(fetch(dtype, device_cache), cache, 0, 0, "cache");
  std::vector<float> normed(expected.size());
  host::rms_norm(expected, gain, 1e-5, normed);
  expect_close(fetch(dtype, y), normed, 1e-4, 2 * tolerance(dtype), "y");
}

TEST_P(Dtypes, SiluMulEqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const DType dtype = GetParam();
  const std::int64_t rows = 3, intermediate = 1016;
  for (const int splits : {1, 5}) {
    std::mt19937 random(4);
    std::vector<float> x = random_floats(rows * 2 * intermediate * splits, random);
    x[0] = 200.0F;   // exp(-200) is 0
    x[8] = -200.0F;  // exp(200) is infinite, silu is 0
    const DType x_dtype = splits > 1 ? DType::f32 : dtype;
    const Bytes device_x = upload(x_dtype, x);
    Bytes y = poisoned(dtype, rows * intermediate);
    silu_mul({.rows = rows,
              .intermediate_size = intermediate,
              .gate_up = {device_x.data(), x_dtype, splits, rows * 2 * intermediate},
              .dtype = dtype,
              .y = y.data()},
             nullptr);
    std::vector<float> sum(static_cast<std::size_t>(rows * 2 * intermediate), 0.0F);
    for (std::size_t i = 0; i < x.size(); ++i) sum[i % sum.size()] += x[i];
    std::vector<float> expected(static_cast<std::size_t>(rows * intermediate));
    host::silu_mul(rows, intermediate, sum, expected);
    expect_close(fetch(dtype, y), expected, 1e-5, 2 * tolerance(dtype), "splits " + std::to_string(splits));
  }
}

TEST_P(Dtypes, EmbeddingGathersRows) {
  RETROSIM_NEED_GPU();
  const DType dtype = GetParam();
  const std::int64_t hidden = 2056;
  std::mt19937 random(4);
  std::vector<float> table = random_floats(9 * hidden, random);
  const Bytes device_table = upload(dtype, table);
  const DeviceBuffer<std::int32_t> tokens(std::vector<std::int32_t>{8, -1, 0, -1, 5, -1});
  Bytes out = poisoned(dtype, 3 * hidden);
  gather_embeddings({.rows = 3,
                     .hidden_size = hidden,
                     .dtype = dtype,
                     .tokens = tokens.data(),
                     .token_stride = 2,
                     .table = device_table.data(),
                     .out = out.data()},
                    nullptr);
  std::vector<float> expected;
  for (const int token : {8, 0, 5})
    expected.insert(expected.end(), &table[token * hidden], &table[(token + 1) * hidden]);
  expect_close(fetch(dtype, out), expected, 0, 0, "embedding");
}

TEST_P(Dtypes, SampleTakesTheLowestOfTheLargestAndMovesOn) {
  RETROSIM_NEED_GPU();
  const DType dtype = GetParam();
  const std::int64_t batch = 3, vocab = 128256;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::mt19937 random(4);
  std::vector<float> logits = random_floats(batch * vocab, random);
  logits[70000] = logits[70001] = logits[100] = 50.0F;  // equal: the lowest id
  for (std::int64_t i = 0; i < vocab; ++i) logits[static_cast<std::size_t>(vocab + i)] = -kInfinity;
  logits[static_cast<std::size_t>(vocab + 127)] = -3e38F;  // better than -infinity
  logits[static_cast<std::size_t>(2 * vocab + vocab - 1)] = kInfinity;
  const Bytes device_logits = upload(dtype, logits);
  std::vector<std::int32_t> expected(static_cast<std::size_t>(batch));
  host::sample_greedy(logits, expected);
  EXPECT_EQ(expected[0], 100);

  DeviceBuffer<std::int32_t> tokens(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6});  // [batch, window 2]
  DeviceBuffer<SampleScratch> scratch(std::vector<SampleScratch>(static_cast<std::size_t>(batch)));
  DeviceBuffer<std::int32_t> lens(std::vector<std::int32_t>{5, 6, 7});
  DeviceBuffer<std::int32_t> rows(std::vector<std::int32_t>{1, 2, 1});
  DeviceBuffer<std::int32_t> k(std::vector<std::int32_t>{0, 0, 0});
  const DeviceBuffer<std::int32_t> k_table(std::vector<std::int32_t>{0, 10, 20, 30, 40, 50, 60, 70, 80, 90});
  const SampleArgs args{.batch = batch,
                        .vocab_size = vocab,
                        .logits = {device_logits.data(), dtype},
                        .tokens = tokens.data(),
                        .window = 2,
                        .scratch = scratch.data(),
                        .context_lens = lens.data(),
                        .num_rows = rows.data(),
                        .selected_pages = k.data(),
                        .pages_by_context = k_table.data()};
  sample_greedily(args, nullptr);
  sample_greedily(args, nullptr);  // the scratch memory is as before
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  const std::int32_t a = expected[0], b = expected[1], c = expected[2];
  EXPECT_EQ(tokens.download(), (std::vector<std::int32_t>{a, a, b, b, c, c}));
  EXPECT_EQ(lens.download(), (std::vector<std::int32_t>{7, 8, 9}));
  EXPECT_EQ(rows.download(), (std::vector<std::int32_t>{2, 2, 2}));
  EXPECT_EQ(k.download(), (std::vector<std::int32_t>{70, 80, 90}));
}

struct RopeCase {
  std::int64_t head_dim, page_size;
  int window;
  bool overwrites, qk_norm;
  host::SummaryRefresh refresh;
  DType dtype;
};
class RopeAppendCuda : public ::testing::TestWithParam<RopeCase> {};
using host::SummaryRefresh;
INSTANTIATE_TEST_SUITE_P(Shapes, RopeAppendCuda,
                         ::testing::Values(RopeCase{128, 16, 1, false, false, SummaryRefresh::recompute, DType::f32},
                                           RopeCase{128, 16, 8, true, false, SummaryRefresh::recompute, DType::f32},
                                           RopeCase{64, 8, 16, true, true, SummaryRefresh::recompute, DType::f32},
                                           RopeCase{64, 8, 5, true, false, SummaryRefresh::widen, DType::f32},
                                           RopeCase{256, 32, 3, false, true, SummaryRefresh::none, DType::f32},
                                           RopeCase{8, 4, 2, true, false, SummaryRefresh::recompute, DType::f32},
                                           RopeCase{128, 16, 8, true, false, SummaryRefresh::recompute, DType::bf16},
                                           RopeCase{128, 16, 1, false, true, SummaryRefresh::widen, DType::bf16},
                                           RopeCase{128, 16, 4, true, false, SummaryRefresh::recompute,
                                                    DType::fp8_e4m3}));

TEST_P(RopeAppendCuda, EqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  const RopeCase c = GetParam();
  const std::int64_t q_heads = 6, kv_heads = 2;
  // Ragged: a first token, a page just opened, the last slot of a page, far into the context.
  const std::vector<std::int32_t> lens{1, static_cast<std::int32_t>(2 * c.page_size + 1),
                                       static_cast<std::int32_t>(3 * c.page_size), 40000};
  const auto batch = static_cast<std::int64_t>(lens.size());
  std::mt19937 random(11);
  RandomKv kv(lens, kv_heads, c.page_size, c.head_dim, random);
  const float k_scale = c.dtype == DType::fp8_e4m3 ? 0.05F : 1.0F;
  const float v_scale = c.dtype == DType::fp8_e4m3 ? 0.07F : 1.0F;
  const DType activations = activation_dtype(c.dtype);
  const auto half_page = static_cast<std::size_t>(c.page_size * c.head_dim);
  std::vector<std::uint8_t> stored;
  for (std::size_t at = 0, part = 0; at < kv.cache.size(); at += half_page, ++part) {
    const auto bytes = store_as(c.dtype, std::span(kv.cache).subspan(at, half_page), part % 2 == 0 ? k_scale : v_scale);
    stored.insert(stored.end(), bytes.begin(), bytes.end());
  }
  std::vector<float> summaries(static_cast<std::size_t>(kv.shape.summary_size()));
  std::vector<std::int32_t> before = lens;  // summaries of the context without the current token
  for (auto& len : before) --len;
  PageTable table_before = kv.table();
  table_before.context_lens = before;
  host::build_page_summaries(kv.shape, table_before, kv.cache, summaries);

  std::vector<std::int32_t> num_rows;
  for (const std::int32_t len : lens) num_rows.push_back(std::min(len, c.window));
  std::vector<float> qkv = random_floats(batch * c.window * (q_heads + 2 * kv_heads) * c.head_dim, random);
  std::vector<float> q_gain = random_floats(c.head_dim, random);
  std::vector<float> k_gain = random_floats(c.head_dim, random);
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < c.head_dim / 2; ++i) {
    frequencies.push_back(std::pow(5e5, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim)));
  }
  Bytes device_cache(stored);
  Bytes device_summaries = upload(activations, summaries);
  const Bytes device_qkv = upload(activations, qkv);
  const Bytes device_q_gain = upload(activations, q_gain);
  const Bytes device_k_gain = upload(activations, k_gain);
  const DeviceBuffer<double> device_frequencies(frequencies);
  const DeviceBuffer<std::int32_t> physical(kv.physical);
  const DeviceBuffer<std::int32_t> context_lens(lens);
  const DeviceBuffer<std::int32_t> device_rows(num_rows);
  Bytes q = poisoned(activations, batch * c.window * q_heads * c.head_dim);
  RopeAppendArgs args{.cache = {kv.shape, c.dtype, device_cache.data(), k_scale, v_scale},
                      .table = {batch, kv.max_pages, physical.data(), context_lens.data()},
                      .num_q_heads = q_heads,
                      .window = c.window,
                      .num_rows = device_rows.data(),
                      .qkv = {device_qkv.data(), activations},
                      .inverse_frequencies = device_frequencies.data(),
                      .eps = 1e-6F,
                      .overwrites = c.overwrites,
                      .refresh = c.refresh,
                      .summaries = device_summaries.data(),
                      .q = q.data()};
  if (c.qk_norm) {
    args.q_gain = device_q_gain.data();
    args.k_gain = device_k_gain.data();
  }
  rope_append(args, nullptr);

  std::vector<host::TokenRow> rows;
  for (std::int32_t b = 0; b < batch; ++b) {
    for (int s = 0; s < c.window; ++s) {
      rows.push_back({b, std::max(0, lens[static_cast<std::size_t>(b)] - 1 - s),
                      s == 0 || (c.overwrites && s < num_rows[static_cast<std::size_t>(b)])});
    }
  }
  host::QkNorm norm;
  if (c.qk_norm) norm = {q_gain, k_gain, 1e-6};
  std::vector<float> expected_q(static_cast<std::size_t>(batch * c.window * q_heads * c.head_dim));
  std::vector<float> cache = kv.cache;
  host::rope_append(kv.shape, kv.table(), q_heads, rows, frequencies, norm, qkv, expected_q, cache);
  std::vector<float> actual_q = fetch(activations, q);
  for (std::int64_t row = 0; row < batch * c.window; ++row) {  // rows that do not exist are not looked at
    if (row % c.window < num_rows[static_cast<std::size_t>(row / c.window)]) continue;
    for (std::int64_t i = row * q_heads * c.head_dim; i < (row + 1) * q_heads * c.head_dim; ++i) {
      actual_q[static_cast<std::size_t>(i)] = expected_q[static_cast<std::size_t>(i)];
    }
  }
  expect_close(actual_q, expected_q, 1e-5, 2 * tolerance(activations), "q");

  // fp8 keeps 4 bits of mantissa and denormals of 2^-9 of the scale.
  const double kv_relative = c.dtype == DType::fp8_e4m3 ? 1.0 / 16 : tolerance(c.dtype);
  const double kv_absolute = c.dtype == DType::fp8_e4m3 ? 0.07 / 512 : 1e-5;
  std::vector<float> actual_cache;
  const std::vector<std::uint8_t> raw = device_cache.download();
  if (c.dtype == DType::fp8_e4m3) {
    for (std::size_t i = 0; i < raw.size(); ++i) {
      __nv_fp8_e4m3 value;
      std::memcpy(&value, &raw[i], 1);
      actual_cache.push_back(static_cast<float>(value) * (i / half_page % 2 == 0 ? k_scale : v_scale));
    }
  } else {
    actual_cache = load_from(c.dtype, raw);
  }
  expect_close(actual_cache, cache, kv_absolute, kv_relative, "cache");

  if (c.refresh == SummaryRefresh::none) return;
  std::vector<std::int32_t> touched;
  for (const std::int32_t existing : num_rows) touched.push_back(c.overwrites ? existing : 1);
  const auto refresh = c.refresh == SummaryRefresh::widen ? host::widen_page_summaries : host::recompute_page_summaries;
  refresh(kv.shape, kv.table(), touched, actual_cache, summaries);  // of the keys as they were stored
  expect_close(fetch(activations, device_summaries), summaries, 1e-6, tolerance(activations), "summaries");
}

}  // namespace
}  // namespace retrosim::kernels::cuda
