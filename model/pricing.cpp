#include "model/pricing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <utility>

#include "model/attention_warps.h"
#include "model/error.h"

namespace retrosim {
namespace {

constexpr double kTile = 128;
// What one thread block streams when there is one per SM or fewer, bound by latency: the slope of Quest's estimate
// kernel with a cold L2 on an RTX 6000 Ada, 32 blocks, 16 and 64 MiB in 35.4 and 116 us (its NVBench sample). From L2,
// whose latency is about half, twice that.
constexpr double kBlockBytesPerS = 19.5e9;
constexpr double kBlockL2BytesPerS = 2 * kBlockBytesPerS;

double tiles(std::int64_t m, std::int64_t n) {
  return std::ceil(static_cast<double>(m) / kTile) * std::ceil(static_cast<double>(n) / kTile);
}

double units_of(const Op& op) {
  if (const auto* matmul = std::get_if<MatmulShape>(&op.shape)) {
    const std::int64_t groups = std::max<std::int64_t>(1, matmul->num_groups);
    return static_cast<double>(groups) * tiles((matmul->m + groups - 1) / groups, matmul->n);
  }
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) {
    return static_cast<double>(attention->batch * attention->num_kv_heads);
  }
  if (const auto* prefill = std::get_if<PrefillAttentionShape>(&op.shape)) {
    return static_cast<double>(prefill->batch * prefill->num_q_heads) * tiles(prefill->new_tokens, 1);
  }
  return 1;
}

/// Values within about 2 % share a cell (the leading five bits of the mantissa, rounded); never 0.
std::uint64_t shape_cell(double bytes, double flops, double units) {
  const auto round = [](double value) {
    return (std::bit_cast<std::uint64_t>(value) + (std::uint64_t{1} << 46U)) >> 47U;  // 17 bits
  };
  return (round(bytes) << 34U) ^ (round(flops) << 17U) ^ round(units) ^ (std::uint64_t{1} << 63U);
}

std::uint64_t scatter(std::uint64_t cell) { return (cell * 0x9E3779B97F4A7C15ULL) >> 20U; }

DType donor_of(DType dtype) { return dtype == DType::int8 ? DType::fp8_e4m3 : DType::bf16; }

/// Profiles without samples of cache passes: those of a gather, else of top-k, which reads scores on CUDA cores too.
std::map<std::string, KindProfile>::const_iterator cache_pass_donor(const GpuProfile& profile) {
  const auto gather = profile.kinds.find("gather");
  return gather != profile.kinds.end() ? gather : profile.kinds.find(kind_key(OpKind::top_k, DType::bf16));
}

bool has_dtype(OpKind kind) {
  return kind == OpKind::matmul || kind == OpKind::attention || kind == OpKind::prefill_attention;
}

DType dtype_of_index(std::size_t index) { return static_cast<DType>(index); }

}  // namespace

std::string_view name_of(Bound bound) {
  switch (bound) {
    case Bound::latency: return "latency";
    case Bound::hbm: return "hbm";
    case Bound::tensor_core: return "tensor_core";
    case Bound::cuda_core: return "cuda_core";
    case Bound::pcie: return "pcie";
    case Bound::interconnect: return "interconnect";
    case Bound::host: return "host";
  }
  return "unknown";
}

std::string_view name_of(Provenance provenance) {
  switch (provenance) {
    case Provenance::measured: return "measured";
    case Provenance::interpolated: return "interpolated";
    case Provenance::extrapolated: return "extrapolated";
    case Provenance::transferred: return "transferred";
  }
  return "unknown";
}

OpWork work_of(const Op& op, const GpuSpec& spec) {
  const Traffic traffic = op.bytes_moved();
  const std::int64_t passing = traffic.other_read + traffic.other_write;
  const bool stays_in_l2 = 2 * passing < spec.l2_bytes;
  OpWork work;
  work.l2_bytes = stays_in_l2 ? static_cast<double>(passing) : 0.0;
  work.hbm_bytes = static_cast<double>(traffic.hbm() - (stays_in_l2 ? passing : 0));
  work.flops = op.flops();
  work.units = std::max(1.0, units_of(op));
  if (const auto* matmul = std::get_if<MatmulShape>(&op.shape)) work.memory_slowdown = 1.0 / matmul->bandwidth_share;
  if (const auto* score = std::get_if<PageScoreShape>(&op.shape)) {
    if (score->summaries_in_l2 && 2 * traffic.summary_read < spec.l2_bytes) {
      work.l2_bytes += std::exchange(work.hbm_bytes, 0.0);
    }
    const double rate = work.hbm_bytes > 0 ? kBlockBytesPerS : kBlockL2BytesPerS;
    if (score->blocks > 0) {
      work.least_memory_s = (work.hbm_bytes + work.l2_bytes) / (rate * static_cast<double>(score->blocks));
    }
  }
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) {
    work.dequantise_flops = attention->cuda_core_flops();
    work.serial_tokens = attention_serial_tokens(*attention, spec.sm_count);
    work.unseen_visits = static_cast<double>(attention->masked ? attention->pages_loaded * (attention->window - 1)
                                                               : attention->unseen_visits);
  }
  return work;
}

std::int64_t rows_of(const Op& op) {
  return std::visit(
      [](const auto& shape) -> std::int64_t {
        if constexpr (requires { shape.m; }) return shape.m;
        if constexpr (requires { shape.rows; }) return shape.rows;
        if constexpr (requires { shape.batch; }) return shape.batch;
        return 1;
      },
      op.shape);
}

DType pricing_dtype(const Op& op) {
  if (const auto* matmul = std::get_if<MatmulShape>(&op.shape)) return matmul->weight_dtype;
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) return attention->kv_dtype;
  if (const auto* prefill = std::get_if<PrefillAttentionShape>(&op.shape)) return prefill->kv_dtype;
  return DType::bf16;
}

std::string kind_key(OpKind kind, DType dtype) {
  std::string key(name_of(kind));
  if (has_dtype(kind)) key.append(".").append(name_of(dtype));
  return key;
}

Roofline make_roofline(const KindProfile& kind, const GpuSpec& spec, double peak_flops_per_s,
                       double l2_bandwidth_bytes_per_s) {
  return {.fixed_s = kind.fixed_latency_s.value,
          .s_per_hbm_byte = 1.0 / (kind.hbm_efficiency.value * spec.hbm_bandwidth_bytes_per_s),
          .s_per_l2_byte = 1.0 / l2_bandwidth_bytes_per_s,
          .s_per_flop = 1.0 / (kind.compute_efficiency.value * peak_flops_per_s),
          .half_bandwidth_bytes = kind.half_bandwidth_bytes.value,
          .memory_half_units = kind.memory_half_units.value,
          .compute_half_units = kind.compute_half_units.value,
          .s_per_unit = kind.unit_latency_s.value / spec.sm_count,
          .s_per_dequantise_flop = 1.0 / (kind.compute_efficiency.value * spec.cuda_core_flops_per_s),
          .s_per_serial_token = kind.serial_token_s.value};
}

Pricer::Pricer(const GpuProfile& profile) : profile_(profile) {
  if (!(profile.l2_bandwidth_bytes_per_s > 0))
    throw InputError(profile.name, "l2_bandwidth_bytes_per_s", "0", "a rate");
  for (std::size_t kind = 0; kind < kNumOpKinds; ++kind) {
    const auto op = static_cast<OpKind>(kind);
    for (std::size_t i = 0; i < entries_[kind].size(); ++i) {
      const DType dtype = dtype_of_index(i);
      auto found = profile.kinds.find(kind_key(op, dtype));
      const bool borrowed = found == profile.kinds.end();
      if (borrowed) found = profile.kinds.find(kind_key(op, donor_of(dtype)));
      if (found == profile.kinds.end()) found = profile.kinds.find(kind_key(op, DType::bf16));
      if (found == profile.kinds.end() && op == OpKind::cache_pass) found = cache_pass_donor(profile);
      if (found == profile.kinds.end()) {
        throw InputError(profile.name, "kinds." + kind_key(op, DType::bf16), "nothing", "parameters of this operation");
      }
      entries_[kind][i] = make_entry(found->second, op, dtype, borrowed);
    }
  }
}

Pricer::KindEntry Pricer::make_entry(const KindProfile& kind, OpKind op, DType dtype, bool borrowed) const {
  const GpuSpec& spec = profile_.spec;
  KindEntry entry;
  const bool on_tensor_cores =
      op == OpKind::matmul || op == OpKind::attention || op == OpKind::prefill_attention || op == OpKind::page_score;
  const double peak = on_tensor_cores ? spec.peak_flops_per_s(dtype) : spec.cuda_core_flops_per_s;
  entry.roofline = make_roofline(kind, spec, peak, profile_.l2_bandwidth_bytes_per_s);
  if (op == OpKind::attention) entry.roofline.s_per_unseen_visit = profile_.unseen_visit_s / spec.sm_count;
  entry.tables = kind.tables;
  entry.step_overlap_s = kind.step_overlap_s;
  entry.many_rows_step_overlap_s = kind.many_rows_step_overlap_s;
  entry.domain = kind.domain;
  entry.measured = kind.measured && !borrowed;
  const std::uint64_t capacity = std::bit_ceil(2 * kind.sampled_shapes.size() + 1);
  entry.shape_mask = capacity - 1;
  entry.shapes.assign(capacity, 0);
  for (const SampledShape& shape : kind.sampled_shapes) {
    const std::uint64_t cell = shape_cell(shape.bytes, shape.flops, shape.units);
    std::uint64_t slot = scatter(cell) & entry.shape_mask;
    while (entry.shapes[slot] != 0 && entry.shapes[slot] != cell) slot = (slot + 1) & entry.shape_mask;
    entry.shapes[slot] = cell;
  }
  return entry;
}

Provenance Pricer::provenance_of(const KindEntry& entry, const OpWork& work) const {
  if (!entry.measured) return Provenance::transferred;
  const double bytes = work.hbm_bytes + work.l2_bytes;
  const std::uint64_t cell = shape_cell(bytes, work.flops, work.units);
  for (std::uint64_t slot = scatter(cell) & entry.shape_mask; entry.shapes[slot] != 0;
       slot = (slot + 1) & entry.shape_mask) {
    if (entry.shapes[slot] == cell) return Provenance::measured;
  }
  const Domain& domain = entry.domain;
  const bool inside = bytes >= domain.min_bytes && bytes <= domain.max_bytes && work.flops >= domain.min_flops &&
                      work.flops <= domain.max_flops;
  return inside ? Provenance::interpolated : Provenance::extrapolated;
}

void Pricer::price_link(const Op& op, const KindEntry& entry, const OpWork& work, Price& price) const {
  const Traffic traffic = op.bytes_moved();
  const double hbm_s = work.hbm_bytes * entry.roofline.s_per_hbm_byte;
  double link_s = 0;
  double* share = nullptr;
  if (op.kind() == OpKind::all_reduce) {
    price.fixed_s = profile_.interconnect_latency_s;
    link_s = static_cast<double>(traffic.interconnect) /
             (profile_.interconnect_efficiency * profile_.spec.interconnect_bandwidth_bytes_per_s);
    share = &price.interconnect_share;
    price.bound = Bound::interconnect;
  } else if (op.kind() == OpKind::host_compute) {
    price.fixed_s = entry.roofline.fixed_s;
    const double reached = std::get<HostComputeShape>(op.shape).bandwidth_share;
    link_s = std::max(static_cast<double>(traffic.host_memory) / (reached * profile_.host_memory_bytes_per_s),
                      work.flops / profile_.host_flops_per_s);
    share = &price.host_share;
    price.bound = Bound::host;
  } else {
    const bool inward = op.kind() == OpKind::host_to_device;
    const std::int64_t transfers =
        inward ? std::get<HostToDeviceShape>(op.shape).transfers : std::get<DeviceToHostShape>(op.shape).transfers;
    const bool one_batch = inward && std::get<HostToDeviceShape>(op.shape).in_one_batch;
    const double further_s = one_batch ? profile_.pcie_copy_s : profile_.pcie_latency_s;
    price.fixed_s = profile_.pcie_latency_s + further_s * static_cast<double>(std::max<std::int64_t>(0, transfers - 1));
    link_s = inward ? static_cast<double>(traffic.host_to_device) / profile_.pcie_h2d_bytes_per_s
                    : static_cast<double>(traffic.device_to_host) / profile_.pcie_d2h_bytes_per_s;
    share = inward ? &price.pcie_h2d_share : &price.pcie_d2h_share;
    price.bound = Bound::pcie;
  }
  price.body_s = std::max(link_s, hbm_s);
  if (price.body_s > 0) {
    *share = link_s / price.body_s;
    price.hbm_share = hbm_s / price.body_s;
  }
  if (hbm_s > link_s) price.bound = Bound::hbm;
  if (price.fixed_s > price.body_s) price.bound = Bound::latency;
}

Price Pricer::price(const Op& op) const {
  const OpKind kind = op.kind();
  const KindEntry& entry = entries_[static_cast<std::size_t>(kind)][static_cast<std::size_t>(pricing_dtype(op))];
  const OpWork work = work_of(op, profile_.spec);
  Price price;
  price.provenance = provenance_of(entry, work);
  const Engine engine = op.engine();
  if (kind == OpKind::all_reduce || engine == Engine::copy || engine == Engine::host) {
    price_link(op, entry, work, price);
    return price;
  }
  const Roofline::Terms terms = entry.roofline.terms(work);
  double log_factor = 0;
  for (const LatencyTable& table : entry.tables) log_factor += table.log_factor(op, profile_.spec.sm_count);
  const double factor = log_factor == 0 ? 1.0 : std::exp(log_factor);
  price.fixed_s = entry.roofline.fixed_s * factor;
  price.body_s = terms.body_s * factor;
  // Of the fixed part first; an operation that is all overlap takes no time.
  const double overlap_s = rows_of(op) <= kFewRows ? entry.step_overlap_s : entry.many_rows_step_overlap_s;
  const double late_s = price.fixed_s - overlap_s;
  price.fixed_s = std::max(0.0, late_s);
  price.body_s = std::max(0.0, price.body_s + std::min(0.0, late_s));
  if (price.body_s > 0) {
    price.hbm_share = std::min(1.0, terms.hbm_s / price.body_s);
    (engine == Engine::tensor_core ? price.tensor_share : price.cuda_share) =
        std::min(1.0, terms.flops_s / price.body_s);
    if (work.dequantise_flops > 0) {
      price.cuda_share = std::min(1.0, work.dequantise_flops * entry.roofline.s_per_dequantise_flop / price.body_s);
    }
  }
  if (price.fixed_s + terms.units_s >= std::max(terms.memory_s, terms.compute_s)) {
    price.bound = Bound::latency;
  } else if (terms.memory_s >= terms.compute_s) {
    price.bound = Bound::hbm;
  } else {
    price.bound = engine == Engine::tensor_core ? Bound::tensor_core : Bound::cuda_core;
  }
  return price;
}

}  // namespace retrosim
