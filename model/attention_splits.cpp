#include "model/attention_splits.h"

#include <algorithm>

namespace retrosim {

namespace {

constexpr std::int64_t kBlocksPerSm = 1;         // resident attention blocks per SM (kernels/attention: shared memory)
constexpr std::int64_t kMinTokensPerSplit = 64;  // below this a block is all prologue
constexpr std::int64_t kMaxSplits = 256;         // of one sequence and KV head: what one merge block reads at once
constexpr std::int64_t kMaxMergedRows = 64;      // of one list: what one block computes

}  // namespace

std::int64_t attention_splits(std::int64_t batch, std::int64_t kv_heads, std::int64_t tokens_per_head, int sm_count) {
  const std::int64_t work_units = std::max<std::int64_t>(1, batch * kv_heads);
  const std::int64_t wave = kBlocksPerSm * std::max(1, sm_count);
  // As many splits as fill one wave exactly; more would leave a second, partly filled wave.
  const std::int64_t to_fill = std::max<std::int64_t>(1, wave / work_units);
  const std::int64_t by_work = std::max<std::int64_t>(1, tokens_per_head / kMinTokensPerSplit);
  return std::clamp<std::int64_t>(std::min(to_fill, by_work), 1, kMaxSplits);
}

bool attention_can_merge(DType kv_dtype, std::int64_t rows_per_list, std::int64_t lists, std::int64_t num_splits,
                         int sm_count) {
  if (kv_dtype == DType::f32 || rows_per_list > kMaxMergedRows) return false;
  return num_splits == 1 || num_splits * lists <= sm_count;
}

}  // namespace retrosim
