#include <algorithm>
#include <vector>

#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope_append/rope.h"
#include "kernels/rope_append/rope_append.h"

namespace retrosim::kernels::host {
namespace {

void normalise_and_turn(std::span<float> head, std::span<const float> gain, double epsilon, const RopeTurn& turn) {
  if (!gain.empty()) rms_norm(head, gain, epsilon, head);
  turn.apply(head);
}

}  // namespace

void rope_append(const KvShape& shape, const PageTable& table, std::int64_t num_q_heads, std::span<const TokenRow> rows,
                 std::span<const double> frequencies, const QkNorm& norm, std::span<const float> qkv,
                 std::span<float> q, std::span<float> kv_cache) {
  const std::int64_t d = shape.head_dim;
  const auto width = static_cast<std::size_t>(d);
  std::vector<float> key(width);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const TokenRow& row = rows[r];
    const RopeTurn turn(row.position, frequencies);
    const auto in = qkv.subspan(r * (num_q_heads + 2 * shape.num_kv_heads) * width);
    for (std::int64_t head = 0; head < num_q_heads; ++head) {
      const auto out = q.subspan((r * num_q_heads + head) * width, width);
      std::copy_n(in.begin() + head * d, d, out.begin());
      normalise_and_turn(out, norm.q_gain, norm.epsilon, turn);
    }
    if (!row.writes_kv) continue;
    const std::int64_t page = table.page(row.sequence, row.position / shape.page_size);
    const std::int64_t slot = row.position % shape.page_size;
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
      std::copy_n(in.begin() + (num_q_heads + head) * d, d, key.begin());
      normalise_and_turn(key, norm.k_gain, norm.epsilon, turn);
      std::copy(key.begin(), key.end(), &kv_cache[shape.key_offset(page, head, slot)]);
      std::copy_n(in.begin() + (num_q_heads + shape.num_kv_heads + head) * d, d,
                  &kv_cache[shape.value_offset(page, head, slot)]);
    }
  }
}

}  // namespace retrosim::kernels::host
