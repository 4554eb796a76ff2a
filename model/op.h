// One GPU operation of a step: what kind, what shape, how many bytes and FLOPs. One Op is one kernel launch (or one
// copy, or one piece of host work), so that what is priced and simulated is what is launched.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "model/ops/attention.h"
#include "model/ops/cache_pass.h"
#include "model/ops/communication.h"
#include "model/ops/elementwise.h"
#include "model/ops/matmul.h"
#include "model/ops/page_selection.h"
#include "model/traffic.h"

namespace retrosim {

enum class OpKind : std::uint8_t {
  embedding,
  rms_norm,
  matmul,
  rope_append,
  page_score,
  top_k,
  attention,
  attention_merge,
  prefill_attention,
  silu_mul,
  sample,
  all_reduce,
  host_to_device,
  device_to_host,
  host_compute,
  moe_route,
  cache_pass,
};
inline constexpr int kNumOpKinds = 17;

/// The unit that does an operation's arithmetic.
enum class Engine : std::uint8_t { cuda_core, tensor_core, host, copy };

/// The queue an operation waits in. Operations on one stream run in order; streams run side by side.
enum class Stream : std::uint8_t { compute, copy_in, copy_out, host };
inline constexpr int kNumStreams = 4;

/// Shapes in the order of OpKind.
using OpShape =
    std::variant<EmbeddingShape, RmsNormShape, MatmulShape, RopeAppendShape, PageScoreShape, TopKShape, AttentionShape,
                 AttentionMergeShape, PrefillAttentionShape, SiluMulShape, SampleShape, AllReduceShape,
                 HostToDeviceShape, DeviceToHostShape, HostComputeShape, MoeRouteShape, CachePassShape>;
static_assert(std::variant_size_v<OpShape> == kNumOpKinds);

struct Op {
  OpShape shape;
  const char* name = "";  // role in the layer, e.g. "qkv_proj"; static storage
  int layer = -1;         // -1: outside the layers
  Stream stream = Stream::compute;

  OpKind kind() const { return static_cast<OpKind>(shape.index()); }
  Traffic bytes_moved() const {
    return std::visit([](const auto& s) { return s.bytes_moved(); }, shape);
  }
  /// Floating-point operations, a multiply-add counted as two.
  double flops() const {
    return std::visit([](const auto& s) { return s.flops(); }, shape);
  }
  Engine engine() const;
};

/// "page_score", "attention", ...
std::string_view name_of(OpKind kind);

}  // namespace retrosim
