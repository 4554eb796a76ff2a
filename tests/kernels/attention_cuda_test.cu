// Attention and its merge on the GPU against the host reference, outputs poisoned before each run.
#include <algorithm>
#include <bit>
#include <ostream>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cuda.h"
#include "kernels/attention_merge/attention_merge.h"
#include "kernels/attention_merge/attention_merge_cuda.h"
#include "tests/kernels/cuda_test_support.h"

namespace retrosim::kernels::cuda {
namespace {

struct Case {
  std::string name;
  DType dtype = DType::bf16;
  int head_dim = 128;
  int page_size = 16;
  int q_heads = 8;
  int kv_heads = 2;
  int window = 1;
  std::vector<std::int32_t> lens{500};
  double budget = 0.3;  // 0: dense
  int splits = 3;
  bool per_query_head = false;
  bool masked = false;
  int sliding_window = 0;
  float query_scale = 1.0F;
  double never_loaded = 0.2;  // share of pages with last_loaded -1; the others were loaded in the last 20 steps
  AttentionTuning tuning{};

  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

struct Inputs {
  std::vector<float> q;
  std::vector<std::int32_t> selected, counts, num_rows, last_loaded;
  std::int64_t lists = 0, k_max = 0;
};

Inputs make_inputs(const Case& c, const RandomKv& kv, std::mt19937& random) {
  Inputs in;
  const auto batch = static_cast<std::int64_t>(c.lens.size());
  in.q = random_floats(batch * c.window * c.q_heads * c.head_dim, random);
  for (float& value : in.q) value *= c.query_scale;
  for (std::int64_t b = 0; b < batch; ++b) {
    const int rows = c.window - static_cast<int>(b % 3);
    in.num_rows.push_back(std::clamp(rows, 1, std::min(c.window, c.lens[static_cast<std::size_t>(b)])));
  }
  in.lists = c.per_query_head ? c.q_heads : c.kv_heads;
  in.k_max =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(c.budget * static_cast<double>(kv.max_pages))));
  in.selected.assign(static_cast<std::size_t>(batch * in.lists * in.k_max), -1);
  in.last_loaded.assign(static_cast<std::size_t>(batch * in.lists * kv.max_pages), -1);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto pages = static_cast<std::int32_t>(kv.table().num_pages(b, c.page_size));
    const std::int32_t position = c.lens[static_cast<std::size_t>(b)] - 1;
    for (std::int64_t list = 0; list < in.lists; ++list) {
      const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(
          pages, std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(c.budget * pages)))));
      std::vector<std::int32_t> ids(static_cast<std::size_t>(pages - 1));
      std::iota(ids.begin(), ids.end(), 0);
      std::shuffle(ids.begin(), ids.end(), random);
      ids.resize(static_cast<std::size_t>(count - 1));
      ids.push_back(pages - 1);
      std::sort(ids.begin(), ids.end());
      in.counts.push_back(count);
      const std::int64_t row = b * in.lists + list;
      std::copy(ids.begin(), ids.end(), in.selected.begin() + row * in.k_max);
      for (std::int64_t page = 0; page < pages; ++page) {
        const bool never = uniform(random) < c.never_loaded;
        const auto age = 1 + static_cast<std::int32_t>(uniform(random) * 20);
        in.last_loaded[static_cast<std::size_t>(row * kv.max_pages + page)] = never ? -1 : std::max(-1, position - age);
      }
    }
  }
  return in;
}

/// How attention and merge are launched.
enum class Launch : std::uint8_t { two_kernels, with_merge };

void expect_host_reference(const Case& c, Launch launch) {
  std::mt19937 random(static_cast<unsigned>(std::hash<std::string>{}(c.name)));
  const bool fp8 = c.dtype == DType::fp8_e4m3;
  const GpuKv kv(RandomKv(c.lens, c.kv_heads, c.page_size, c.head_dim, random), c.dtype, fp8 ? 0.02F : 1.0F,
                 fp8 ? 0.05F : 1.0F);
  const auto batch = static_cast<std::int64_t>(c.lens.size());
  Inputs in = make_inputs(c, kv.host, random);
  const DType activation = activation_dtype(c.dtype);
  const bool dense = c.budget == 0;
  const bool tracked = !dense && c.window > 1;
  const std::int64_t rows = batch * c.window * c.q_heads;

  const DeviceBuffer<std::uint8_t> q(store_as(activation, in.q));
  const DeviceBuffer<std::int32_t> selected(in.selected), counts(in.counts), num_rows(in.num_rows);
  DeviceBuffer<std::int32_t> last_loaded(in.last_loaded);
  DeviceBuffer<float> partial_values(static_cast<std::size_t>(rows * c.splits * c.head_dim));
  DeviceBuffer<float> partial_lse(static_cast<std::size_t>(rows * c.splits));
  DeviceBuffer<std::uint8_t> out(static_cast<std::size_t>(bytes_of(activation, rows * c.head_dim)));
  DeviceBuffer<float> lse(static_cast<std::size_t>(rows));
  for (auto* buffer : {&partial_values, &partial_lse, &lse}) buffer->fill_bytes(0xff);
  out.fill_bytes(0xff);
  const std::int64_t slots = c.window - 1;
  std::vector<float> cache_values = random_floats(slots * batch * c.q_heads * c.head_dim, random);
  std::vector<float> cache_lse = random_floats(slots * batch * c.q_heads, random);
  if (!cache_lse.empty()) cache_lse[0] = -INFINITY;  // an entry over nothing
  DeviceBuffer<std::uint8_t> device_cache(store_as(activation, cache_values));
  DeviceBuffer<float> device_cache_lse(cache_lse);

  const PagedAttention attention(kv.cache, c.tuning);
  PagedAttentionArgs args{.table = kv.table,
                          .num_q_heads = c.q_heads,
                          .window = c.window,
                          .num_splits = c.splits,
                          .q = q.data(),
                          .num_rows = num_rows.data(),
                          .partials = {partial_values.data(), partial_lse.data()}};
  if (!dense) {
    args.num_lists = in.lists;
    args.k_max = in.k_max;
    args.selected = selected.data();
    args.counts = counts.data();
    args.last_loaded = tracked ? last_loaded.data() : nullptr;
    args.masked = c.masked;
  }
  args.sliding_window = c.sliding_window;
  AttentionMergeArgs merge{.dtype = activation,
                           .table = kv.table,
                           .num_q_heads = c.q_heads,
                           .head_dim = c.head_dim,
                           .window = c.window,
                           .num_splits = c.splits,
                           .partials = args.partials,
                           .num_rows = num_rows.data(),
                           .slots = slots,
                           .cache_values = device_cache.data(),
                           .cache_lse = device_cache_lse.data(),
                           .out = out.data(),
                           .lse = lse.data()};
  if (tracked) {
    merge.last_loaded = last_loaded.data();
    merge.page_size = c.page_size;
    merge.num_lists = in.lists;
    merge.k_max = in.k_max;
    merge.selected = selected.data();
    merge.counts = counts.data();
  }
  if (launch == Launch::two_kernels) {
    attention.launch(args, nullptr);
    merge_attention(merge, nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
  } else {
    DeviceBuffer<float> exchange_values(partial_values.size()), exchange_lse(partial_lse.size());
    for (auto* buffer : {&exchange_values, &exchange_lse}) buffer->fill_bytes(0xff);
    attention.launch_with_merge(args, merge, {exchange_values.data(), exchange_lse.data()}, nullptr);
    RETROSIM_CUDA_CHECK(cudaDeviceSynchronize());
    for (auto* buffer : {&exchange_values, &exchange_lse}) {
      for (const float word : buffer->download()) ASSERT_EQ(std::bit_cast<std::uint32_t>(word), 0xffffffffU);
    }
  }

  const host::AttentionSizes sizes{.kv = kv.host.shape,
                                   .num_q_heads = c.q_heads,
                                   .window = c.window,
                                   .num_lists = dense ? c.kv_heads : in.lists,
                                   .k_max = in.k_max};
  std::vector<float> expected_out(static_cast<std::size_t>(rows * c.head_dim));
  std::vector<float> expected_lse(static_cast<std::size_t>(rows));
  std::vector<std::int32_t> expected_stamps = in.last_loaded;
  if (dense) {
    host::dense_attention(sizes, kv.host.table(), c.sliding_window, in.q, kv.host.cache, in.num_rows, expected_out,
                          expected_lse);
  } else {
    host::sparse_attention(sizes, kv.host.table(), c.masked ? host::UnseenMode::mask : host::UnseenMode::skip, in.q,
                           kv.host.cache, in.selected, in.counts, in.num_rows,
                           tracked ? std::span<std::int32_t>(expected_stamps) : std::span<std::int32_t>(), expected_out,
                           expected_lse);
  }
  std::vector<std::int32_t> positions;
  for (const std::int32_t len : c.lens) positions.push_back(len - 1);
  host::merge_output_cache(
      {.batch = batch, .window = c.window, .slots = slots, .num_q_heads = c.q_heads, .head_dim = c.head_dim}, positions,
      in.num_rows, cache_values, cache_lse, expected_out, expected_lse);

  const bool exact = c.dtype == DType::f32;
  // bf16: probabilities and outputs are rounded to 2^-9 relative, values are about 1; scores are not rounded.
  const double absolute = exact ? 1e-5 : 0.01;
  const double relative = exact ? 1e-4 : 0.01;
  const auto actual = load_from(activation, out.download());
  expect_close(actual, expected_out, absolute, relative, "out");
  EXPECT_LE(relative_error(actual, expected_out), exact ? 1e-4 : 5e-3);
  expect_close(lse.download(), expected_lse, 1e-4, 1e-5, "lse");
  if (slots > 0) {
    expect_close(load_from(activation, device_cache.download()), cache_values, absolute, relative, "output cache");
    expect_close(device_cache_lse.download(), cache_lse, 1e-4, 1e-5, "output cache lse");
  }
  if (tracked) EXPECT_EQ(last_loaded.download(), expected_stamps);
}

class CudaAttention : public ::testing::TestWithParam<Case> {};

TEST_P(CudaAttention, EqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  expect_host_reference(GetParam(), Launch::two_kernels);
}

TEST_P(CudaAttention, WithItsMergeEqualsTheHostReference) {
  RETROSIM_NEED_GPU();
  expect_host_reference(GetParam(), Launch::with_merge);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto name_dtype = [](DType dtype) { return std::string(name_of(dtype)); };
  for (const DType dtype : {DType::bf16, DType::fp8_e4m3, DType::f32}) {
    for (const int head_dim : {64, 128, 256}) {
      for (const int page_size : {8, 16, 32, 64, 128}) {
        all.push_back({.name = name_dtype(dtype) + "_d" + std::to_string(head_dim) + "_p" + std::to_string(page_size),
                       .dtype = dtype,
                       .head_dim = head_dim,
                       .page_size = page_size,
                       .window = page_size == 32 ? 1 : 3,
                       .lens = {500, 1, 77, 128}});
      }
    }
    for (int window = 1; window <= 16; ++window) {
      all.push_back({.name = name_dtype(dtype) + "_w" + std::to_string(window),
                     .dtype = dtype,
                     .window = window,
                     .lens = {700, 9, 130}});
    }
    for (const int group : {1, 2, 3, 5, 6, 7, 8, 12, 16}) {
      for (const int window : {1, 5, 16}) {
        all.push_back({.name = name_dtype(dtype) + "_g" + std::to_string(group) + "_w" + std::to_string(window),
                       .dtype = dtype,
                       .q_heads = 2 * group,
                       .kv_heads = 2,
                       .window = window,
                       .lens = {260}});
      }
    }
    const auto add = [&](Case c, const char* name) {
      c.name = name_dtype(dtype) + name;
      c.dtype = dtype;
      all.push_back(c);
    };
    add({.head_dim = 256, .q_heads = 32, .kv_heads = 2, .window = 16}, "_d256_g16_w16");
    add({.head_dim = 64, .q_heads = 32, .kv_heads = 2, .window = 16}, "_d64_g16_w16");
    add({.window = 4, .lens = {16, 17, 15, 1, 2}, .splits = 5}, "_page_edges");
    add({.window = 4, .lens = {1000, 3}, .budget = 1.0}, "_all_pages");
    add({.window = 1, .lens = {5000, 40}, .budget = 0}, "_dense");
    add({.window = 5, .lens = {600, 40}, .budget = 0}, "_dense_window");
    add({.window = 2, .lens = {900, 40}, .budget = 0, .sliding_window = 100}, "_sliding");
    add({.page_size = 64, .window = 3, .lens = {900, 40}, .budget = 0, .sliding_window = 64}, "_sliding_p64");
    add({.page_size = 8, .window = 3, .lens = {900, 41}, .budget = 0, .sliding_window = 37}, "_sliding_p8");
    add({.window = 4, .lens = {700, 90}, .per_query_head = true}, "_per_query_head");
    add({.window = 8, .lens = {700, 90}, .masked = true}, "_masked");
    add({.window = 8, .lens = {700, 90}, .never_loaded = 0}, "_all_seen_recently");
    add({.window = 8, .lens = {700, 90}, .never_loaded = 1}, "_never_loaded");
    add({.window = 2, .lens = {700}, .query_scale = 40.0F}, "_huge_scores");
    add({.window = 2, .lens = {700}, .query_scale = 0.0F}, "_equal_scores");
    add({.window = 3, .lens = {9000}, .budget = 1.0, .splits = 2}, "_long_splits");
    add({.page_size = 8, .window = 3, .lens = {9000}, .budget = 0.9, .splits = 1}, "_long_p8");
    add({.window = 2, .lens = {600}, .budget = 0.1, .splits = 40}, "_more_splits_than_tiles");
    add({.window = 5, .lens = {2000, 30}, .splits = 2, .tuning = {.warps = 4, .stages = 2, .blocks_per_sm = 2}},
        "_four_warps");
    add({.window = 5, .lens = {2000, 30}, .tuning = {.loader = KvLoader::async_copy}}, "_async_copy");
    add({.page_size = 8, .window = 2, .lens = {2000, 30}, .tuning = {.loader = KvLoader::async_copy}},
        "_async_copy_p8");
    add({.page_size = 64, .window = 2, .lens = {2000, 30}, .tuning = {.loader = KvLoader::async_copy}},
        "_async_copy_p64");
    add({.window = 1, .lens = {700}, .tuning = {.stages = 1}}, "_one_stage");
    add({.window = 12, .lens = {3000, 30}, .splits = 1, .tuning = {.stages = 1}}, "_w12_one_stage");
    add({.window = 16, .lens = {6000, 200}, .budget = 0.5, .splits = 1}, "_w16_long_rings");
    add({.q_heads = 16,
         .kv_heads = 4,
         .window = 16,
         .lens = {3000},
         .splits = 1,
         .never_loaded = 1,
         .tuning = {.warps = 3, .blocks_per_sm = 2}},
        "_w16_three_leading_warps");
    add({.window = 16, .lens = {2000, 30}, .tuning = {.loader = KvLoader::async_copy}}, "_w16_async_copy");
    add({.q_heads = 16, .kv_heads = 2, .window = 16, .lens = {900, 30}, .masked = true}, "_w16_masked");
    add({.q_heads = 16, .kv_heads = 2, .window = 9, .lens = {900, 30}, .budget = 0}, "_w9_dense");
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaAttention, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace retrosim::kernels::cuda
