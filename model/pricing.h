// Price: seconds that one operation takes alone on a GPU, with what bounds it and how well that is known.
//
// The calibrated roofline. With the work of an operation (OpWork) and its kind's parameters (KindProfile):
//
//   memory  = [(hbm_bytes + half_bandwidth_bytes) / (hbm_efficiency * HBM bandwidth) + l2_bytes / L2 bandwidth]
//             * (1 + memory_half_units / units)                                     (0 when hbm_bytes and l2_bytes are
//             0)
//   compute = max(flops / (compute_efficiency * peak),
//                 dequantise_flops / (compute_efficiency * CUDA-core peak)) * (1 + compute_half_units / units)
//   serial  = serial_tokens * serial_token                     (decode attention: attention_warps.h; 0 for others)
//   latency = [fixed_latency + (memory^4 + max(compute, serial)^4)^(1/4) + unit_latency * units / SMs
//              + unseen_visit * (older queries' pages) / SMs] * product of the kind's tables at the operation's shape
//             - step_overlap                               (of launches of few rows, or of many)
//
// The tables (latency_table.h) hold what the physical terms leave of measured times: the steps of tiles, waves and
// split-K, and how many rows share a page. A profile fitted to few samples has none.
//
// (b + h) / B is Hockney's half-performance law in bytes, 1 + h / u the same in parallel work: few blocks cannot fill
// the memory pipes. The fourth power rounds the corner of the roofline (1.19 at the ridge, 1.01 at a factor of two
// beside it), which is where kernels overlap loads and arithmetic imperfectly. Tile padding of skinny products has no
// term: up to 128 rows it stays far below the time of their weights.
//
// L2: data that the kernel before has just written (activations, partial results, scores: other_read and other_write)
// is priced as L2 traffic when the operation has less of it than half of L2; weights, keys, values, summaries and the
// output cache always come from HBM, as a decoding step streams far more than L2 between two uses of them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/gpu_profile.h"
#include "model/op.h"

namespace retrosim {

enum class Bound : std::uint8_t { latency, hbm, tensor_core, cuda_core, pcie, interconnect, host };

/// How well a number is known, best first.
enum class Provenance : std::uint8_t { measured, interpolated, extrapolated, transferred };

struct Price {
  double fixed_s = 0;  // holds no shared resource: launch, ramp-up, dependent latency
  double body_s = 0;   // streams bytes and FLOPs, alone on the GPU
  // Shares of each resource's capacity that the body uses while it runs alone, in [0, 1].
  double hbm_share = 0;
  double tensor_share = 0;
  double cuda_share = 0;
  double pcie_h2d_share = 0;
  double pcie_d2h_share = 0;
  double interconnect_share = 0;
  double host_share = 0;
  Bound bound = Bound::latency;
  Provenance provenance = Provenance::interpolated;

  double latency_s() const { return fixed_s + body_s; }
};

std::string_view name_of(Bound bound);
std::string_view name_of(Provenance provenance);

/// What of an operation decides its price.
struct OpWork {
  double hbm_bytes = 0;
  double l2_bytes = 0;
  double flops = 0;
  double units =
      1;  // blocks that can run side by side: 128 x 128 output tiles of a product, (sequence, KV head) pairs else
  double dequantise_flops = 0;  // on CUDA cores beside the product (AttentionShape::cuda_core_flops)
  double memory_slowdown = 1;   // of a kernel that cannot draw the bandwidth that its bytes would get
  double least_memory_s = 0;    // of a kernel whose blocks are too few to draw the bandwidth
  double unseen_visits = 0;     // pages of attention that older queries are computed on
  double serial_tokens = 0;     // of decode attention (attention_serial_tokens())
};

OpWork work_of(const Op& op, const GpuSpec& spec);

/// Rows up to which our products run kernels of their own, which start while the kernel before them ends.
inline constexpr std::int64_t kFewRows = 16;
/// Rows of the block of activations that `op` works on; sequences where it has none.
std::int64_t rows_of(const Op& op);

/// The formula above with its parameters in seconds per byte, FLOP and unit.
struct Roofline {
  double fixed_s = 0;
  double s_per_hbm_byte = 0;
  double s_per_l2_byte = 0;
  double s_per_flop = 0;
  double half_bandwidth_bytes = 0;
  double memory_half_units = 0;
  double compute_half_units = 0;
  double s_per_unit = 0;
  double s_per_dequantise_flop = 0;
  double s_per_unseen_visit = 0;
  double s_per_serial_token = 0;

  /// Times of the terms; `hbm_s` and `flops_s` are what a fully parallel operation would need of HBM and arithmetic.
  struct Terms {
    double hbm_s = 0;
    double flops_s = 0;
    double memory_s = 0;
    double compute_s = 0;
    double units_s = 0;
    double body_s = 0;
  };
  Terms terms(const OpWork& work) const {
    Terms t;
    t.hbm_s = work.hbm_bytes * s_per_hbm_byte;
    t.flops_s = work.flops * s_per_flop;
    const double ramp_s = work.hbm_bytes > 0 ? half_bandwidth_bytes * s_per_hbm_byte : 0.0;
    t.memory_s = (t.hbm_s + ramp_s + work.l2_bytes * s_per_l2_byte) * (1.0 + memory_half_units / work.units);
    t.memory_s = std::max(t.memory_s * work.memory_slowdown, work.least_memory_s);
    const double engines_s = std::max(t.flops_s, work.dequantise_flops * s_per_dequantise_flop);
    t.compute_s = engines_s * (1.0 + compute_half_units / work.units);
    t.compute_s = std::max(t.compute_s, work.serial_tokens * s_per_serial_token);
    t.units_s = t.memory_s > 0 || t.compute_s > 0 ? s_per_unit * work.units : 0.0;
    t.units_s += s_per_unseen_visit * work.unseen_visits;
    const double memory2 = t.memory_s * t.memory_s;
    const double compute2 = t.compute_s * t.compute_s;
    t.body_s = std::sqrt(std::sqrt(memory2 * memory2 + compute2 * compute2)) + t.units_s;
    return t;
  }
  double latency_s(const OpWork& work) const { return fixed_s + terms(work).body_s; }
};

/// Parameters of `kind` on `spec` for an operation that computes at `peak_flops_per_s`.
Roofline make_roofline(const KindProfile& kind, const GpuSpec& spec, double peak_flops_per_s,
                       double l2_bandwidth_bytes_per_s);

/// Element type that chooses the parameters and the peak: weights of a product, keys and values of attention, else
/// bf16.
DType pricing_dtype(const Op& op);

/// Key of a kind's parameters in GpuProfile::kinds: "matmul.bfloat16"; "rms_norm" where the type does not matter.
std::string kind_key(OpKind kind, DType dtype);

class Pricer {
 public:
  /// Looks up every kind's parameters once. Types that were not measured borrow from the nearest that was and are
  /// `transferred`: float16, float32 and int4 from bfloat16, int8 from fp8, fp8 from bfloat16.
  /// Throws InputError when the profile lacks a kind.
  explicit Pricer(const GpuProfile& profile);

  /// Cheap: no allocation, no search. An operation without work still costs its fixed latency.
  Price price(const Op& op) const;
  const GpuProfile& profile() const { return profile_; }

 private:
  /// A kind's parameters as the formula needs them.
  struct KindEntry {
    Roofline roofline;
    Domain domain;
    bool measured = false;
    std::vector<LatencyTable> tables;
    double step_overlap_s = 0;
    double many_rows_step_overlap_s = 0;
    std::uint64_t shape_mask = 0;
    std::vector<std::uint64_t> shapes;  // open-addressing set of shape cells, 0 is empty
  };
  KindEntry make_entry(const KindProfile& kind, OpKind op, DType dtype, bool borrowed) const;
  Provenance provenance_of(const KindEntry& entry, const OpWork& work) const;
  void price_link(const Op& op, const KindEntry& entry, const OpWork& work, Price& price) const;

  GpuProfile profile_;
  std::array<std::array<KindEntry, kNumDTypes>, kNumOpKinds> entries_;  // [kind][DType]
};

}  // namespace retrosim
