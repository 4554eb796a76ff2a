// I3 of method.md on the GPU: with queries, keys and values held fixed, the output cache holds attention over the union
// of all pages that were loaded within a query's window.
#include <map>
#include <random>
#include <set>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention_merge/attention_merge_cuda.h"
#include "tests/kernels/cuda_test_support.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kHeads = 3;
constexpr int kHeadDim = 64;
constexpr int kPageSize = 8;
constexpr int kWindow = 6;
constexpr int kSelected = 4;
constexpr int kFirst = 40;
constexpr int kLast = 90;
constexpr int kSplits = 2;

/// Attention of one query over the tokens of `pages` at positions up to its own, in double.
std::vector<double> attend(const RandomKv& kv, int head, const float* query, int position, const std::set<int>& pages) {
  std::vector<double> out(kHeadDim);
  double total = 0;
  for (int token = 0; token <= position; ++token) {
    if (!pages.contains(token / kPageSize)) continue;
    double score = 0;
    for (int i = 0; i < kHeadDim; ++i) score += static_cast<double>(query[i]) * kv.key(0, head, token)[i];
    const double weight = std::exp(score / std::sqrt(kHeadDim));
    total += weight;
    for (int i = 0; i < kHeadDim; ++i) out[static_cast<std::size_t>(i)] += weight * kv.value(0, head, token)[i];
  }
  for (double& value : out) value /= total;
  return out;
}

class GpuFrozenLayer : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, GpuFrozenLayer, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_P(GpuFrozenLayer, I3OutputsAreAttentionOverTheUnion) {
  RETROSIM_NEED_GPU();
  const DType dtype = GetParam();
  std::mt19937 random(9);
  const GpuKv kv(RandomKv({kLast}, kHeads, kPageSize, kHeadDim, random), dtype);
  std::vector<float> queries = random_floats(kLast * kHeads * kHeadDim, random);
  store_as(dtype, queries);  // rounds them
  constexpr int kRow = kHeads * kHeadDim;
  const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(bytes_of(dtype, elements)); };
  DeviceBuffer<std::uint8_t> q(bytes(kWindow * kRow)), out(bytes(kWindow * kRow)), cache(bytes((kWindow - 1) * kRow));
  DeviceBuffer<float> cache_lse((kWindow - 1) * kHeads), partial_lse(kWindow * kHeads * kSplits);
  DeviceBuffer<float> partial_values(kWindow * kRow * kSplits);
  DeviceBuffer<std::int32_t> selected(kHeads * kSelected), context_lens(1), num_rows(1);
  const DeviceBuffer<std::int32_t> counts(std::vector<std::int32_t>(kHeads, kSelected));
  DeviceBuffer<std::int32_t> last_loaded(static_cast<std::size_t>(kHeads * kv.host.max_pages));
  last_loaded.fill_bytes(0xff);
  DevicePageTable table = kv.table;
  table.context_lens = context_lens.data();
  const PagedAttention attention(kv.cache);

  std::map<std::pair<int, int>, std::set<int>> pages;  // (head, query)
  for (int t = kFirst; t < kLast; ++t) {
    std::vector<std::int32_t> chosen_pages;
    for (int head = 0; head < kHeads; ++head) {
      std::set<int> chosen{t / kPageSize};
      std::uniform_int_distribution<int> any(0, t / kPageSize);
      while (chosen.size() < kSelected) chosen.insert(any(random));
      chosen_pages.insert(chosen_pages.end(), chosen.begin(), chosen.end());
      pages[{head, t}] = chosen;
    }
    const int rows = std::min(kWindow, t - kFirst + 1);
    std::vector<float> block(kWindow * kRow);
    for (int s = 0; s < rows; ++s) std::copy_n(&queries[(t - s) * kRow], kRow, &block[s * kRow]);
    q.upload(store_as(dtype, block));
    selected.upload(chosen_pages);
    context_lens.upload(std::vector<std::int32_t>{t + 1});
    num_rows.upload(std::vector<std::int32_t>{rows});
    out.fill_bytes(0xff);
    const AttentionPartials partials{partial_values.data(), partial_lse.data()};
    attention.launch({.table = table,
                      .num_q_heads = kHeads,
                      .window = kWindow,
                      .num_splits = kSplits,
                      .q = q.data(),
                      .num_rows = num_rows.data(),
                      .partials = partials,
                      .num_lists = kHeads,
                      .k_max = kSelected,
                      .selected = selected.data(),
                      .counts = counts.data(),
                      .last_loaded = last_loaded.data()},
                     nullptr);
    merge_attention({.dtype = dtype,
                     .table = table,
                     .num_q_heads = kHeads,
                     .head_dim = kHeadDim,
                     .window = kWindow,
                     .num_splits = kSplits,
                     .partials = partials,
                     .num_rows = num_rows.data(),
                     .slots = kWindow - 1,
                     .cache_values = cache.data(),
                     .cache_lse = cache_lse.data(),
                     .out = out.data(),
                     .last_loaded = last_loaded.data(),
                     .page_size = kPageSize,
                     .num_lists = kHeads,
                     .k_max = kSelected,
                     .selected = selected.data(),
                     .counts = counts.data()},
                    nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
    const std::vector<float> actual = load_from(dtype, out.download());
    std::vector<float> expected(static_cast<std::size_t>(rows * kRow));
    for (int s = 0; s < rows; ++s) {
      for (int head = 0; head < kHeads; ++head) {
        std::set<int> joined;
        for (int step = t - s; step <= t; ++step) joined.insert(pages[{head, step}].begin(), pages[{head, step}].end());
        const auto of_head = attend(kv.host, head, &queries[(t - s) * kRow + head * kHeadDim], t - s, joined);
        std::copy(of_head.begin(), of_head.end(), expected.begin() + s * kRow + head * kHeadDim);
      }
    }
    // bf16: an output passes through the cache up to five times, rounded to 2^-9 relative each time.
    const double tolerance = dtype == DType::f32 ? 1e-5 : 0.03;
    expect_close(std::span(actual).first(expected.size()), expected, tolerance, tolerance,
                 "position " + std::to_string(t));
  }
}

}  // namespace
}  // namespace retrosim::kernels::cuda
