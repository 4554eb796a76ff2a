// Page summaries, page scores and top-k on the GPU against the host reference, outputs poisoned before each run.
#include <limits>
#include <ostream>

#include "kernels/page_score/page_score_cuda.h"
#include "kernels/page_summary/page_summary.h"
#include "kernels/page_summary/page_summary_cuda.h"
#include "kernels/top_k/top_k.h"
#include "kernels/top_k/top_k_cuda.h"
#include "tests/kernels/cuda_test_support.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct ScoreCase {
  DType dtype;
  int head_dim;
  int group;
  GroupReduction reduction;
  int page_size;
};

class CudaPageScore : public ::testing::TestWithParam<ScoreCase> {};

TEST_P(CudaPageScore, SummariesAndScoresEqualTheHostReference) {
  RETROSIM_NEED_GPU();
  const ScoreCase& c = GetParam();
  const int kv_heads = 3;
  const int q_heads = kv_heads * c.group;
  std::mt19937 random(static_cast<unsigned>(c.head_dim * 1000 + c.group * 10 + c.page_size));
  const float scale = c.dtype == DType::fp8_e4m3 ? 0.03125F : 1.0F;  // a power of two: rounding to bf16 is exact
  const GpuKv kv(RandomKv({777, 1, 16, 300}, kv_heads, c.page_size, c.head_dim, random), c.dtype, scale, scale);
  const KvShape& shape = kv.host.shape;
  const DType activation = activation_dtype(c.dtype);

  std::vector<float> expected_summaries(static_cast<std::size_t>(shape.summary_size()), -1.0F);
  host::build_page_summaries(shape, kv.host.table(), kv.host.cache, expected_summaries);
  DeviceBuffer<std::uint8_t> summaries(static_cast<std::size_t>(bytes_of(activation, shape.summary_size())));
  std::vector<float> untouched(expected_summaries.size(), -1.0F);
  summaries.upload(store_as(activation, untouched));
  build_page_summaries(kv.cache, kv.table, summaries.data(), nullptr);
  EXPECT_EQ(load_from(activation, summaries.download()), expected_summaries);

  const std::int64_t batch = kv.table.batch;
  const std::int64_t q_stride = 2 * q_heads * c.head_dim;
  std::vector<float> q = random_floats(batch * q_stride, random);
  const DeviceBuffer<std::uint8_t> device_q(store_as(activation, q));
  const std::int64_t lists = selection_heads(c.reduction, q_heads, kv_heads);
  std::vector<float> expected(static_cast<std::size_t>(batch * lists * kv.table.max_pages));
  host::page_scores(shape, kv.host.table(), q_heads, c.reduction, q, q_stride, expected_summaries, expected);
  DeviceBuffer<float> scores(expected.size());
  scores.fill_bytes(0xff);
  page_scores({.shape = shape,
               .dtype = activation,
               .table = kv.table,
               .num_q_heads = q_heads,
               .reduction = c.reduction,
               .q = device_q.data(),
               .q_stride = q_stride,
               .summaries = summaries.data(),
               .scores = scores.data()},
              nullptr);
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  // Products of bf16 are exact in float32; only the order of 2 * head_dim additions differs.
  expect_close(scores.download(), expected, 1e-4, 1e-5, "scores");
}

std::vector<ScoreCase> score_cases() {
  std::vector<ScoreCase> all;
  for (const DType dtype : {DType::bf16, DType::fp8_e4m3, DType::f32}) {
    for (const int head_dim : {64, 128, 256}) {
      for (const int group : {1, 3, 4, 8, 9, 16}) {
        for (const auto reduction : {GroupReduction::max, GroupReduction::mean, GroupReduction::per_query_head}) {
          all.push_back({dtype, head_dim, group, reduction, group % 2 == 0 ? 16 : 64});
        }
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaPageScore, ::testing::ValuesIn(score_cases()), [](const auto& test) {
  const ScoreCase& c = test.param;
  return std::string(name_of(c.dtype)) + "_d" + std::to_string(c.head_dim) + "_g" + std::to_string(c.group) + "_r" +
         std::to_string(static_cast<int>(c.reduction));
});

enum class Scores { normal, few_values, all_equal, with_infinities, huge, tiny_differences };

class CudaTopK : public ::testing::TestWithParam<Scores> {};

float draw(Scores kind, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 1.0F);
  const float x = normal(random);
  switch (kind) {
    case Scores::normal: return 30.0F + 5.0F * x;
    case Scores::few_values: return std::round(x);  // ties, and both zeros
    case Scores::all_equal: return -3.0F;
    case Scores::with_infinities: return x > 1 ? kInfinity : x < 0 ? -kInfinity : x;
    case Scores::huge: return x * 1e38F;
    case Scores::tiny_differences: return std::nextafter(1.0F, 1.0F + x) + static_cast<float>(random() % 3) * 6e-8F;
  }
  return x;
}

TEST_P(CudaTopK, SelectsTheHostReferencesSet) {
  RETROSIM_NEED_GPU();
  std::mt19937 random(5);
  for (const std::int64_t page_size : {8, 16}) {
    const std::vector<std::int32_t> lens{1, 16, 17, 300, 5000, 32768, 131072, 400, 1100, 32768};
    const auto batch = static_cast<std::int64_t>(lens.size());
    const std::int64_t max_pages = 131072 / page_size;
    const std::int64_t lists = 3;
    // All pages, one page, in between; the last one takes a single page of 2,048 or 4,096.
    const std::vector<std::int32_t> k{1, 5, 1, 9, 100, 308, 2000, 400, 2, 1};
    const std::int64_t k_max = 2000;
    std::vector<float> scores(static_cast<std::size_t>(batch * lists * max_pages));
    for (float& score : scores) score = draw(GetParam(), random);
    std::vector<std::int32_t> physical(static_cast<std::size_t>(batch * max_pages));
    const PageTable table{.batch = batch, .max_pages = max_pages, .physical = physical, .context_lens = lens};
    std::vector<std::int32_t> expected(static_cast<std::size_t>(batch * lists * k_max), -1);
    std::vector<std::int32_t> expected_counts(static_cast<std::size_t>(batch * lists));
    host::select_top_k(table, page_size, lists, k_max, scores, k, expected, expected_counts);

    const DeviceBuffer<float> device_scores(scores);
    const DeviceBuffer<std::int32_t> device_lens(lens), device_k(k);
    DeviceBuffer<std::int32_t> selected(expected.size()), counts(expected_counts.size());
    selected.fill_bytes(0xff);
    counts.fill_bytes(0xff);
    select_top_k({.table = {.batch = batch, .max_pages = max_pages, .context_lens = device_lens.data()},
                  .page_size = page_size,
                  .lists_per_sequence = lists,
                  .k_max = k_max,
                  .scores = device_scores.data(),
                  .k = device_k.data(),
                  .selected = selected.data(),
                  .counts = counts.data()},
                 nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
    EXPECT_EQ(counts.download(), expected_counts);
    EXPECT_EQ(selected.download(), expected);
  }
}

// More pages than shared memory holds: 1 Mi tokens in pages of 8.
TEST(CudaTopKLong, SelectsTheHostReferencesSet) {
  RETROSIM_NEED_GPU();
  std::mt19937 random(6);
  const std::vector<std::int32_t> lens{1 << 20}, k{5000};
  const std::int64_t max_pages = (1 << 20) / 8;
  const std::vector<float> scores = random_floats(max_pages, random);
  std::vector<std::int32_t> physical(static_cast<std::size_t>(max_pages)), expected(5000, -1), expected_counts(1);
  const PageTable table{.batch = 1, .max_pages = max_pages, .physical = physical, .context_lens = lens};
  host::select_top_k(table, 8, 1, 5000, scores, k, expected, expected_counts);
  const DeviceBuffer<float> device_scores(scores);
  const DeviceBuffer<std::int32_t> device_lens(lens), device_k(k);
  DeviceBuffer<std::int32_t> selected(5000), counts(1);
  selected.fill_bytes(0xff);
  select_top_k({.table = {.batch = 1, .max_pages = max_pages, .context_lens = device_lens.data()},
                .page_size = 8,
                .lists_per_sequence = 1,
                .k_max = 5000,
                .scores = device_scores.data(),
                .k = device_k.data(),
                .selected = selected.data(),
                .counts = counts.data()},
               nullptr);
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  EXPECT_EQ(counts.download(), expected_counts);
  EXPECT_EQ(selected.download(), expected);
}

INSTANTIATE_TEST_SUITE_P(Scores, CudaTopK,
                         ::testing::Values(Scores::normal, Scores::few_values, Scores::all_equal,
                                           Scores::with_infinities, Scores::huge, Scores::tiny_differences),
                         [](const auto& test) { return "kind" + std::to_string(static_cast<int>(test.param)); });

}  // namespace
}  // namespace retrosim::kernels::cuda
