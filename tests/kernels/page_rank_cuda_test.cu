// Page ranks for the recorder against sums in double over the same keys.
#include <gtest/gtest.h>

#include "kernels/page_rank/page_rank_cuda.h"
#include "tests/kernels/cuda_test_support.h"

namespace retrosim::kernels::cuda {
namespace {

class PageRank : public ::testing::TestWithParam<std::tuple<int, int, DType>> {};  // head size, group, dtype
INSTANTIATE_TEST_SUITE_P(Shapes, PageRank,
                         ::testing::Combine(::testing::Values(64, 128), ::testing::Values(1, 3, 8),
                                            ::testing::Values(DType::f32, DType::bf16)));

TEST_P(PageRank, ScoresAndMassesAreThoseOfTheDefinition) {
  RETROSIM_NEED_GPU();
  const auto [head_dim, group, dtype] = GetParam();
  constexpr int kKvHeads = 2;
  constexpr int kPageSize = 16;
  std::mt19937 random(4);
  GpuKv kv(RandomKv({100, 33, 1}, kKvHeads, kPageSize, head_dim, random), dtype);
  const int q_heads = kKvHeads * group;
  std::vector<float> q = random_floats(3LL * q_heads * head_dim, random);
  const DeviceBuffer<std::uint8_t> device_q(store_as(dtype, q));
  const std::int64_t max_pages = kv.host.max_pages;
  DeviceBuffer<float> scores(static_cast<std::size_t>(3 * kKvHeads * max_pages));
  DeviceBuffer<float> mass(scores.size());
  scores.fill_bytes(0xff);
  mass.fill_bytes(0xff);
  PageRankScratch scratch;
  rank_pages({.cache = kv.cache,
              .table = kv.table,
              .num_q_heads = q_heads,
              .q = device_q.data(),
              .scores = scores.data(),
              .mass = mass.data()},
             scratch, nullptr);
  RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  const std::vector<float> got_scores = scores.download();
  const std::vector<float> got_mass = mass.download();
  for (int b = 0; b < 3; ++b) {
    const int context = kv.host.context_lens[static_cast<std::size_t>(b)];
    const int pages = (context + kPageSize - 1) / kPageSize;
    for (int head = 0; head < kKvHeads; ++head) {
      std::vector<double> want_score(static_cast<std::size_t>(pages), -INFINITY);
      std::vector<double> want_mass(static_cast<std::size_t>(pages), 0);
      for (int g = 0; g < group; ++g) {
        const float* query = &q[static_cast<std::size_t>((b * q_heads + head * group + g) * head_dim)];
        std::vector<double> weight;
        double sum = 0;
        for (int position = 0; position < context; ++position) {
          const float* key = kv.host.key(b, head, position);
          double dot = 0;
          for (int i = 0; i < head_dim; ++i) dot += static_cast<double>(query[i]) * key[i];
          weight.push_back(std::exp(dot / std::sqrt(head_dim)));
          sum += weight.back();
        }
        for (int page = 0; page < pages; ++page) {
          double score = 0;
          const int last = std::min(context, (page + 1) * kPageSize);
          for (int i = 0; i < head_dim; ++i) {
            double best = -INFINITY;
            for (int position = page * kPageSize; position < last; ++position) {
              best = std::max(best, static_cast<double>(query[i]) * kv.host.key(b, head, position)[i]);
            }
            score += best;
          }
          auto& of_page = want_score[static_cast<std::size_t>(page)];
          of_page = std::max(of_page, score);
          for (int position = page * kPageSize; position < last; ++position) {
            want_mass[static_cast<std::size_t>(page)] += weight[static_cast<std::size_t>(position)] / sum / group;
          }
        }
      }
      for (int page = 0; page < pages; ++page) {
        const auto at = static_cast<std::size_t>((b * kKvHeads + head) * max_pages + page);
        EXPECT_NEAR(got_scores[at], want_score[static_cast<std::size_t>(page)], 2e-4)
            << b << " " << head << " " << page;
        EXPECT_NEAR(got_mass[at], want_mass[static_cast<std::size_t>(page)], 2e-5) << b << " " << head << " " << page;
      }
    }
  }
}

}  // namespace
}  // namespace retrosim::kernels::cuda
