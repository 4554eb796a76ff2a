#include "calibrate/fit_published.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <utility>

#include "calibrate/latency_table_fit.h"
#include "calibrate/published_tables.h"
#include "calibrate/shaped_fit.h"
#include "model/file_hash.h"
#include "model/pricing.h"

namespace retrosim {
namespace {

constexpr int kFolds = 5;  // fold 0 is held out
constexpr double kUs = 1e-6;
constexpr double kSmallKvBytes = 2e6;        // attention below this shows its fixed latency
constexpr double kL2Multiples = 4;           // and above this multiple of L2 its bandwidth (tables' README)
constexpr double kLargestMessage = 1 << 26;  // all-reduce: beyond decoding and prefill chunks
// Our attention and merge kernels on an H200 (132 SMs), 32k, batch 16, budget 0.15: (t(w) - t(1)) * 132 / (unseen
// visits) is 14, 42, 55 and 109 ns at w = 2, 4, 8 and 16 (reports/published/samples/kernels-h200/attention.json,
// "window/32k_b16_*"); their median. The published tables are of dense attention and do not show it.
constexpr double kUnseenVisitS = 49e-9;
constexpr double kL2Ceiling = 20e12;  // bytes/s; only scales the L2 fit's parameter

constexpr const char* kProbed = "h100-sxm";  // the GPU of h100_probe.txt
constexpr const char* kProbe = "h100_probe.txt";
constexpr DType kDTypes[2] = {DType::bf16, DType::fp8_e4m3};

using Grids = std::vector<std::vector<LatencyTable::Axis>>;

/// Products: tiles, waves and split inner dimensions.
Grids product_grids() {
  const std::vector<double> sizes{64, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536};
  return {{axis_at(ShapeAxis::rows, {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768}),
           axis_at(ShapeAxis::columns, sizes), axis_at(ShapeAxis::depth, sizes)}};
}

/// Dense decode attention: its splits and waves by what one list holds, and what depends on the batch beside them.
Grids attention_grids() {
  const std::vector<double> tokens{2, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072};
  return {{axis_at(ShapeAxis::lists, {1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384}),
           axis_at(ShapeAxis::tokens_per_list, tokens), axis_at(ShapeAxis::query_rows, {1, 4, 8, 16, 64})},
          {axis_at(ShapeAxis::sequences, {1, 4, 16, 64, 256, 2048}), axis_at(ShapeAxis::tokens_per_list, tokens),
           axis_at(ShapeAxis::columns, {128, 1024, 4096, 12288})}};
}

std::size_t index(Parameter parameter) { return static_cast<std::size_t>(parameter); }

class Fitter {
 public:
  Fitter(const std::filesystem::path& folder, const std::string& gpu) : folder_(folder), spec_(find_gpu_spec(gpu)) {
    table_gpu_ = spec_.name;
    std::ranges::replace(table_gpu_, '-', '_');
    const std::string table = table_gpu_ + ".csv";
    gemm_files_ = {"aic_gemm_bf16_" + table, "aic_gemm_fp8_" + table};
    attention_files_ = {"aic_attn_decode_bf16kv_" + table, "aic_attn_decode_fp8kv_" + table};
    dtypes_ = std::filesystem::exists(folder / gemm_files_[1]) ? 2 : 1;
    if (spec_.name == kProbed) {
      probe_ = read_probe(folder / kProbe);
      node_s_ = probe_->graph_node_us * kUs;
    } else {
      donor_ = transfer_profile(spec_, find_gpu_profile(kProbed));
      node_s_ = donor_->graph_node_s;
    }
  }

  PublishedFit run();

 private:
  FitPlan plan(double peak_flops_per_s) const {
    FitPlan plan;
    plan.start = {3e-6, 0.85, 0.5, 0, 0, 0, 0};
    plan.hbm_bandwidth_bytes_per_s = spec_.hbm_bandwidth_bytes_per_s;
    plan.peak_flops_per_s = peak_flops_per_s;
    plan.l2_bandwidth_bytes_per_s = l2_bandwidth_;
    plan.sm_count = spec_.sm_count;
    return plan;
  }

  static void fit_also(FitPlan& plan, Parameter parameter, double start) {
    plan.start[index(parameter)] = start;
    plan.fitted[index(parameter)] = true;
  }

  static ShapedSample sample(const Op& op, const std::string& label, std::string regime, const OpWork& work,
                             double latency_us, double offset_s) {
    return {.op = op,
            .sample = {.work = work,
                       .measured_s = latency_us * kUs,
                       .offset_s = offset_s,
                       .regime = std::move(regime),
                       .label = label,
                       .held_out = fold_of(label, kFolds) == 0},
            .group = label};
  }

  /// Fits a roofline and tables over `grids`, files the kind under `key` and its samples among the residuals.
  KindProfile fit(const std::string& key, const FitPlan& plan, const std::vector<ShapedSample>& samples,
                  const std::string& source, const Grids& grids = {}) {
    KindProfile kind = fit_shaped(plan, samples, grids);
    kind.source = source;
    for (const ShapedSample& shaped : samples) {
      const LatencySample& s = shaped.sample;
      const double bytes = s.work.hbm_bytes + s.work.l2_bytes;
      const double naive_s = std::max(bytes / plan.hbm_bandwidth_bytes_per_s, s.work.flops / plan.peak_flops_per_s);
      result_.residuals.push_back({key, s.label, s.regime, s.measured_s / kUs, predicted_s(plan, kind, shaped) / kUs,
                                   naive_s / kUs, s.held_out});
    }
    result_.profile.kinds[key] = kind;
    return kind;
  }

  void borrow(const std::string& key, const KindProfile& donor, const std::string& why) {
    KindProfile kind = donor;
    kind.measured = false;
    kind.samples = 0;
    kind.hold_out = {};
    kind.by_regime.clear();
    kind.sampled_shapes.clear();
    kind.tables.clear();
    kind.source = why;
    result_.profile.kinds[key] = kind;
  }

  void fit_elementwise();
  void fit_gather();
  void fit_products(std::size_t which, const Grids& grids);
  std::vector<ShapedSample> attention_samples(std::size_t which, bool in_l2) const;
  FitPlan attention_plan(std::size_t which) const;
  void fit_attention(std::size_t which);
  void fit_l2();
  void fit_all_reduce();
  void borrow_the_rest();
  void set_rates();

  std::filesystem::path folder_;
  GpuSpec spec_;
  std::string table_gpu_;                       // as the tables spell it
  std::array<std::string, 2> gemm_files_;       // bf16, fp8
  std::array<std::string, 2> attention_files_;  // likewise
  std::size_t dtypes_ = 2;                      // that have tables
  std::optional<ProbeFigures> probe_;           // of kProbed alone
  std::optional<GpuProfile> donor_;             // of every other GPU: what no table says
  double node_s_ = 0;
  double l2_bandwidth_ = 4e12;  // start; fit_l2 replaces it
  KindProfile elementwise_;
  KindProfile gather_;
  std::array<KindProfile, 2> products_;
  std::array<KindProfile, 2> attention_;
  PublishedFit result_;
};

/// The least that a real kernel takes inside a graph: products so small that nothing but their latency is left.
void Fitter::fit_elementwise() {
  std::vector<ShapedSample> samples;
  for (const GemmRow& row : read_gemm_rows(folder_ / gemm_files_[0])) {
    if (row.m > 16 || row.k > 64 || row.n > 1024) continue;
    const Op op{.shape = MatmulShape{.m = row.m, .n = row.n, .k = row.k}};
    OpWork work = work_of(op, spec_);
    work.l2_bytes += std::exchange(work.hbm_bytes, 0.0);  // replayed, so even the weights stay in L2
    samples.push_back(sample(op, row.label, "k <= 64", work, row.latency_us, node_s_));
  }
  FitPlan p = plan(spec_.bf16_flops_per_s);
  p.start[index(Parameter::hbm_efficiency)] = probe_ ? probe_->copy_bytes_per_s / spec_.hbm_bandwidth_bytes_per_s
                                                     : donor_->kinds.at("elementwise").hbm_efficiency.value;
  fit_also(p, Parameter::fixed_latency_s, 2e-6);
  elementwise_ =
      fit("elementwise", p, samples,
          "aiconfigurator (NVIDIA), " + gemm_files_[0] +
              ": latency of products with k <= 64, m <= 16, n <= 1024 (L2-resident); bandwidth from the copy of a "
              "first probe of an H100 80GB HBM3");
}

void Fitter::fit_gather() {
  if (!probe_) {
    gather_ = donor_->kinds.at("gather");
    result_.profile.kinds["gather"] = gather_;
    return;
  }
  std::vector<ShapedSample> samples;
  for (const GatherRow& row : probe_->gathers) {
    if (row.page_bytes < 2048 || row.page_bytes > 16384) continue;  // K or V of one page and KV head: 2 to 8 KiB
    samples.push_back(sample({}, row.label, "pages of 2 to 16 KiB", {.hbm_bytes = row.total_bytes}, row.latency_us,
                             probe_->launch_us * kUs));
  }
  FitPlan p = plan(spec_.cuda_core_flops_per_s);
  fit_also(p, Parameter::fixed_latency_s, 3e-6);
  fit_also(p, Parameter::hbm_efficiency, 0.87);
  gather_ = fit("gather", p, samples, "h100_probe.txt: a first probe of an H100 80GB HBM3, gather of scattered pages");
}

void Fitter::fit_products(std::size_t which, const Grids& grids) {
  std::vector<ShapedSample> samples;
  for (const GemmRow& row : read_gemm_rows(folder_ / gemm_files_[which])) {
    if (row.weights_l2_resident || row.nonmonotone) continue;  // a decoding step never finds its weights in L2
    const Op op{.shape = MatmulShape{.m = row.m, .n = row.n, .k = row.k, .weight_dtype = kDTypes[which]}};
    const char* regime = row.m <= 16 ? "rows 1 to 16" : row.m <= 128 ? "rows 17 to 128" : "rows above 1024";
    if (row.m > 128 && row.m <= 1024) regime = "rows 129 to 1024";
    samples.push_back(sample(op, row.label, regime, work_of(op, spec_), row.latency_us, node_s_));
    samples.back().group = std::to_string(row.n) + " " + std::to_string(row.k);  // to carry over to other weights
  }
  FitPlan p = plan(spec_.peak_flops_per_s(kDTypes[which]));
  fit_also(p, Parameter::fixed_latency_s, 3e-6);
  fit_also(p, Parameter::hbm_efficiency, 0.87);
  fit_also(p, Parameter::compute_efficiency, 0.7);
  fit_also(p, Parameter::memory_half_units, 1.0);
  // cuBLAS splits the inner dimension when there are few tiles: its table does not determine this one.
  if (which == 1) fit_also(p, Parameter::compute_half_units, 20.0);
  products_[which] = fit(kind_key(OpKind::matmul, kDTypes[which]), p, samples,
                         "aiconfigurator (NVIDIA), " + gemm_files_[which] + ", weights outside L2" +
                             (which == 1 ? "; includes the quantisation of the activations" : ""),
                         grids);
}

/// A measured call is three kernels: the write of the new keys and values, attention, and the merge of its splits.
std::vector<ShapedSample> Fitter::attention_samples(std::size_t which, bool in_l2) const {
  const double l2 = static_cast<double>(spec_.l2_bytes);
  std::vector<ShapedSample> samples;
  for (const DecodeAttentionRow& row : read_decode_attention_rows(folder_ / attention_files_[which])) {
    const AttentionShape shape{.batch = row.batch,
                               .num_q_heads = row.num_q_heads,
                               .num_kv_heads = row.num_kv_heads,
                               .head_dim = row.head_dim,
                               .page_size = 16,
                               .rows = row.batch,
                               .tokens_loaded = row.batch * row.num_kv_heads * row.kv_len_tokens,
                               .kv_dtype = kDTypes[which]};
    const auto kv = static_cast<double>(shape.bytes_moved().kv_read);
    const auto queries_and_outputs = static_cast<double>(4 * row.batch * row.num_q_heads * row.head_dim);
    OpWork work{.flops = shape.flops(), .units = static_cast<double>(row.batch * row.num_kv_heads)};
    (2 * queries_and_outputs < l2 ? work.l2_bytes : work.hbm_bytes) = queries_and_outputs;
    std::string regime;
    if (in_l2) {
      if (kv < 4e6 || kv > 0.7 * l2 || work.units > spec_.sm_count) continue;
      work.hbm_bytes += kv + std::exchange(work.l2_bytes, 0.0);  // fit_l2 fits one bandwidth
      regime = "KV in L2";
    } else {
      if (kv > kSmallKvBytes && kv < kL2Multiples * l2) continue;  // replayed KV: partly from L2
      work.hbm_bytes += kv;
      regime = kv <= kSmallKvBytes ? "KV below 2 MB" : "KV above 4x L2";
      regime += row.batch <= 64 ? ", batch to 64" : ", batch above 64";
    }
    const double new_keys_and_values =
        static_cast<double>(2 * row.batch * row.num_kv_heads * row.head_dim);  // elements
    const double offset = 3 * node_s_ + 2 * elementwise_.fixed_latency_s.value +
                          new_keys_and_values * (2.0 + bits_of(kDTypes[which]) / 8.0) / l2_bandwidth_;
    samples.push_back(sample({.shape = shape}, row.label, regime, work, row.latency_us, offset));
  }
  return samples;
}

FitPlan Fitter::attention_plan(std::size_t which) const {
  FitPlan p = plan(spec_.peak_flops_per_s(kDTypes[which]));
  // Dense decoding is never bound by arithmetic, so its compute efficiency cannot be seen: that of products stands in.
  p.start[index(Parameter::compute_efficiency)] = products_[which].compute_efficiency.value;
  fit_also(p, Parameter::fixed_latency_s, 6e-6);
  fit_also(p, Parameter::hbm_efficiency, 0.85);
  fit_also(p, Parameter::unit_latency_s, 2e-6);
  return p;
}

void Fitter::fit_attention(std::size_t which) {
  attention_[which] =
      fit(kind_key(OpKind::attention, kDTypes[which]), attention_plan(which), attention_samples(which, false),
          "aiconfigurator (NVIDIA), " + attention_files_[which] +
              ", dense paged attention of FlashAttention 3 in vLLM, less a KV write and a merge kernel; compute "
              "efficiency borrowed from products",
          attention_grids());
}

/// L2 bandwidth from attention whose replayed keys and values stay there.
void Fitter::fit_l2() {
  if (!probe_) {
    l2_bandwidth_ = donor_->l2_bandwidth_bytes_per_s;  // older kernels leave most SMs idle at such sizes
    return;
  }
  const KindProfile first = fit_shaped(attention_plan(0), attention_samples(0, false), {});
  FitPlan p = plan(spec_.bf16_flops_per_s);
  p.start[index(Parameter::compute_efficiency)] = first.compute_efficiency.value;
  p.start[index(Parameter::fixed_latency_s)] = first.fixed_latency_s.value;
  p.start[index(Parameter::unit_latency_s)] = first.unit_latency_s.value;
  p.hbm_bandwidth_bytes_per_s = kL2Ceiling;
  fit_also(p, Parameter::hbm_efficiency, 0.25);
  const Fitted share = fit_shaped(p, attention_samples(0, true), {}).hbm_efficiency;
  l2_bandwidth_ = share.value * kL2Ceiling;
}

void Fitter::fit_all_reduce() {
  std::vector<ShapedSample> samples;
  std::vector<SampledShape> shapes;
  Domain domain;
  for (const AllReduceRow& row : read_all_reduce_rows(folder_ / "aic_allreduce.csv", table_gpu_, "vllm_custom_graph")) {
    if (static_cast<double>(row.message_bytes) > kLargestMessage) continue;
    const Op op{.shape = AllReduceShape{.message_bytes = row.message_bytes, .num_gpus = row.num_gpus}};
    const auto sent = static_cast<double>(op.bytes_moved().interconnect);
    samples.push_back(sample(op, row.label, row.message_bytes <= 1 << 20 ? "message to 1 MiB" : "message above 1 MiB",
                             {.hbm_bytes = sent}, row.latency_us, node_s_));
    const OpWork work = work_of(op, spec_);
    shapes.push_back({work.hbm_bytes + work.l2_bytes, work.flops, work.units});
    domain.max_bytes = std::max(domain.max_bytes, shapes.back().bytes);
    domain.max_flops = std::max(domain.max_flops, work.flops);
  }
  FitPlan p = plan(spec_.cuda_core_flops_per_s);
  p.hbm_bandwidth_bytes_per_s = spec_.interconnect_bandwidth_bytes_per_s;
  fit_also(p, Parameter::fixed_latency_s, 4e-6);
  fit_also(p, Parameter::hbm_efficiency, 0.5);
  KindProfile kind =
      fit("all_reduce", p, samples,
          "aiconfigurator (NVIDIA), aic_allreduce.csv, vllm_custom_graph on 2, 4 and 8 GPUs, messages to 64 MiB");
  result_.interconnect_efficiency = kind.hbm_efficiency;
  result_.profile.interconnect_efficiency = kind.hbm_efficiency.value;
  result_.profile.interconnect_latency_s = kind.fixed_latency_s.value;
  kind.hbm_efficiency = elementwise_.hbm_efficiency;
  kind.sampled_shapes = shapes;
  kind.domain = domain;
  result_.profile.kinds["all_reduce"] = kind;
}

void Fitter::borrow_the_rest() {
  for (const OpKind kind :
       {OpKind::embedding, OpKind::rms_norm, OpKind::rope_append, OpKind::top_k, OpKind::attention_merge,
        OpKind::silu_mul, OpKind::sample, OpKind::moe_route, OpKind::host_compute}) {
    borrow(
        kind_key(kind, DType::bf16), elementwise_,
        "borrowed from `elementwise`: no published measurement of this operation; its compute efficiency is assumed");
  }
  borrow(kind_key(OpKind::page_score, DType::bf16), gather_,
         "borrowed from `gather`: no published measurement of page scoring; its compute efficiency is assumed");
  for (std::size_t which = 0; which < dtypes_; ++which) {
    KindProfile prefill = attention_[which];
    prefill.compute_efficiency = products_[which].compute_efficiency;
    prefill.unit_latency_s = {};
    borrow(kind_key(OpKind::prefill_attention, kDTypes[which]), prefill,
           "borrowed: bandwidth and latency of decode attention, compute efficiency of products");
  }
  for (const OpKind kind : {OpKind::host_to_device, OpKind::device_to_host}) {
    const std::string key = kind_key(kind, DType::bf16);
    borrow(key, elementwise_, "h100_probe.txt: PCIe bandwidth of a large copy, latency of a 64 KiB copy to the GPU");
    if (!probe_) continue;
    KindProfile& copy = result_.profile.kinds[key];
    copy.measured = true;
    copy.domain = {.min_bytes = 65536, .max_bytes = 65536};
  }
}

void Fitter::set_rates() {
  GpuProfile& profile = result_.profile;
  profile.name = spec_.name;
  profile.spec = spec_;
  profile.graph_node_s = node_s_;
  profile.unseen_visit_s = kUnseenVisitS;
  profile.l2_bandwidth_bytes_per_s = l2_bandwidth_;
  profile.host_memory_bytes_per_s = 200e9;
  profile.host_flops_per_s = 1e12;
  if (probe_) {
    profile.kernel_launch_s = probe_->launch_us * kUs;
    profile.pcie_h2d_bytes_per_s = probe_->h2d_bytes_per_s;
    profile.pcie_d2h_bytes_per_s = probe_->d2h_bytes_per_s;
    profile.pcie_latency_s = probe_->h2d_64kib_us * kUs - 65536 / probe_->h2d_bytes_per_s;
  } else {
    profile.kernel_launch_s = donor_->kernel_launch_s;
    profile.pcie_h2d_bytes_per_s = donor_->pcie_h2d_bytes_per_s;
    profile.pcie_d2h_bytes_per_s = donor_->pcie_d2h_bytes_per_s;
    profile.pcie_latency_s = donor_->pcie_latency_s;
  }
  profile.graph_launch_s = profile.kernel_launch_s;
  std::vector<std::string> files;
  if (probe_) files.emplace_back(kProbe);
  for (std::size_t which = 0; which < dtypes_; ++which) files.push_back(gemm_files_[which]);
  for (std::size_t which = 0; which < dtypes_; ++which) files.push_back(attention_files_[which]);
  files.emplace_back("aic_allreduce.csv");
  for (const std::string& name : files) profile.sample_files.push_back({name, xxh3_of_file(folder_ / name)});
  profile.provenance =
      std::string(
          "Fitted from measurements that others made and published, not from our own kernels: "
          "products, dense decode attention and all-reduce from NVIDIA's aiconfigurator "
          "(Apache-2.0, commit 095f58a; vLLM). ") +
      (probe_
           ? "Copy, gather, launch and PCIe from a first probe of an H100 80GB HBM3, L2 bandwidth from attention over "
             "replayed KV. "
           : "Borrowed from the h100-sxm profile: copy, gather, launch and PCIe, and L2 bandwidth by SMs and clock. ") +
      "From our own attention kernel on an H200: 49 ns "
      "per older query's unseen page and SM (14 to 109). Assumed, not measured: host memory 200 GB/s, "
      "host arithmetic 1 TFLOP/s, a graph launch as long as a kernel launch.";
}

PublishedFit Fitter::run() {
  fit_elementwise();
  fit_gather();
  for (std::size_t which = 0; which < dtypes_; ++which) fit_products(which, {});
  fit_l2();
  result_.residuals.clear();  // the first round only served to find the L2 bandwidth
  fit_elementwise();
  fit_gather();
  for (std::size_t which = 0; which < dtypes_; ++which) fit_products(which, product_grids());
  for (std::size_t which = 0; which < dtypes_; ++which) fit_attention(which);
  fit_all_reduce();
  borrow_the_rest();
  set_rates();
  return std::move(result_);
}

}  // namespace

PublishedFit fit_published_tables(const std::filesystem::path& folder, const std::string& gpu) {
  return Fitter(folder, gpu).run();
}

}  // namespace retrosim
