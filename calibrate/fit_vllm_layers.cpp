#include "calibrate/fit_vllm_layers.h"

#include <algorithm>
#include <map>
#include <utility>

#include "calibrate/csv_rows.h"
#include "calibrate/op_table.h"
#include "calibrate/roofline_fit.h"
#include "model/error.h"
#include "model/file_hash.h"
#include "model/llm_spec.h"
#include "model/pricing.h"

namespace retrosim {
namespace {

constexpr int kFolds = 5;  // fold 0 is held out
constexpr double kUs = 1e-6;

class LayerFitter {
 public:
  LayerFitter(const std::filesystem::path& folder, const std::string& table, const std::string& gpu,
              const std::string& llm)
      : layers_file_(folder / ("vllm_layers_" + table + ".csv")),
        attention_file_(folder / ("vllm_attn_decode_" + table + ".csv")),
        spec_(find_gpu_spec(gpu)),
        llm_(find_llm_spec(llm)),
        donor_(transfer_profile(spec_, find_gpu_profile("h100-sxm"))) {}

  PublishedFit run();

 private:
  void read_layers();
  void fit_kind(OpKind kind, bool product);
  void fit_attention();
  FitPlan plan(double peak) const;
  LatencySample sample(const std::string& label, const std::string& regime, const OpWork& work, double us,
                       double offset_s) const;
  KindProfile fit(const std::string& key, const FitPlan& plan, const std::vector<LatencySample>& samples,
                  const std::filesystem::path& file);

  std::filesystem::path layers_file_;
  std::filesystem::path attention_file_;
  GpuSpec spec_;
  LlmSpec llm_;
  GpuProfile donor_;
  std::map<OpKind, std::vector<LatencySample>> samples_;
  PublishedFit result_;
};

std::size_t index(Parameter parameter) { return static_cast<std::size_t>(parameter); }

void fit_also(FitPlan& plan, Parameter parameter, double start) {
  plan.start[index(parameter)] = start;
  plan.fitted[index(parameter)] = true;
}

LatencySample LayerFitter::sample(const std::string& label, const std::string& regime, const OpWork& work, double us,
                                  double offset_s) const {
  return {.work = work,
          .measured_s = us * kUs,
          .offset_s = offset_s,
          .regime = regime,
          .label = label,
          .held_out = fold_of(label, kFolds) == 0};
}

void LayerFitter::read_layers() {
  CsvRows rows(layers_file_);
  std::string first_gpu;
  while (rows.next()) {
    if (first_gpu.empty()) first_gpu = rows.text("gpu");
    if (rows.text("gpu") != first_gpu) throw InputError(rows.where(), "gpu", rows.text("gpu"), first_gpu);
    const std::int64_t m = rows.integer("tokens_or_sequences_M");
    const std::string& layer = rows.text("layer");
    const Op op{.shape = vllm_layer_shape(llm_, layer, m, rows.integer("tp"), layers_file_.string())};
    const std::string regime = m <= 16 ? "rows 1 to 16" : m <= 128 ? "rows 17 to 128" : "rows above 128";
    samples_[op.kind()].push_back(
        sample(layer + " " + std::to_string(m), regime, work_of(op, spec_), rows.positive("time_us"), 0));
  }
}

FitPlan LayerFitter::plan(double peak) const {
  FitPlan plan;
  plan.start = {2e-6, 0.85, 0.5, 0, 0, 0, 0};
  plan.hbm_bandwidth_bytes_per_s = spec_.hbm_bandwidth_bytes_per_s;
  plan.peak_flops_per_s = peak;
  plan.l2_bandwidth_bytes_per_s = donor_.l2_bandwidth_bytes_per_s;
  plan.sm_count = spec_.sm_count;
  return plan;
}

KindProfile LayerFitter::fit(const std::string& key, const FitPlan& plan, const std::vector<LatencySample>& samples,
                             const std::filesystem::path& file) {
  KindProfile kind = fit_roofline(plan, samples);
  kind.source = "LLMServingSim 2.0 (commit 5daddb2), " + file.filename().string() + ": kernel times in vLLM 0.19.0";
  for (const LatencySample& s : samples) {
    const double bytes = s.work.hbm_bytes + s.work.l2_bytes;
    const double naive_s = std::max(bytes / plan.hbm_bandwidth_bytes_per_s, s.work.flops / plan.peak_flops_per_s);
    result_.residuals.push_back(
        {key, s.label, s.regime, s.measured_s / kUs, predicted_s(plan, kind, s) / kUs, naive_s / kUs, s.held_out});
  }
  result_.profile.kinds[key] = kind;
  return kind;
}

void LayerFitter::fit_kind(OpKind kind, bool product) {
  if (samples_[kind].empty()) throw InputError(layers_file_.string(), "layer", "no rows", std::string(name_of(kind)));
  FitPlan p = plan(product ? spec_.bf16_flops_per_s : spec_.cuda_core_flops_per_s);
  fit_also(p, Parameter::fixed_latency_s, 2e-6);
  fit_also(p, Parameter::hbm_efficiency, 0.85);
  if (product) {
    fit_also(p, Parameter::compute_efficiency, 0.9);
    fit_also(p, Parameter::memory_half_units, 1.0);
  }
  fit(kind_key(kind, DType::bf16), p, samples_[kind], layers_file_);
}

/// A measured call holds three kernels of ours: the write of the new keys and values (part of rope_append), attention,
/// and the merge of its splits; the other two are taken off with the latency of a norm.
void LayerFitter::fit_attention() {
  const GpuProfile& profile = result_.profile;
  const double small_kernel_s = profile.kinds.at("rms_norm").fixed_latency_s.value;
  std::vector<LatencySample> samples;
  CsvRows rows(attention_file_);
  while (rows.next()) {
    const std::int64_t batch = rows.integer("batch");
    const std::int64_t tokens = rows.integer("kv_len_tokens");
    const std::int64_t kv_heads = rows.integer("num_kv_heads_per_gpu");
    const AttentionShape shape{.batch = batch,
                               .num_q_heads = rows.integer("num_q_heads_per_gpu"),
                               .num_kv_heads = kv_heads,
                               .head_dim = rows.integer("head_dim"),
                               .page_size = 16,
                               .rows = batch,
                               .tokens_loaded = batch * kv_heads * tokens};
    const auto kv = static_cast<double>(shape.bytes_moved().kv_read);
    const auto rest = static_cast<double>(4 * batch * shape.num_q_heads * shape.head_dim);
    const OpWork work{
        .hbm_bytes = kv, .l2_bytes = rest, .flops = shape.flops(), .units = static_cast<double>(batch * kv_heads)};
    samples.push_back(sample("batch " + std::to_string(batch) + " context " + std::to_string(tokens),
                             kv < 16e6 ? "KV below 16 MB" : "KV from 16 MB", work, rows.positive("time_us"),
                             2 * small_kernel_s));
  }
  FitPlan p = plan(spec_.bf16_flops_per_s);
  p.start[index(Parameter::compute_efficiency)] = profile.kinds.at("matmul.bfloat16").compute_efficiency.value;
  fit_also(p, Parameter::fixed_latency_s, 5e-6);
  fit_also(p, Parameter::hbm_efficiency, 0.9);
  fit_also(p, Parameter::unit_latency_s, 2e-6);
  fit("attention.bfloat16", p, samples, attention_file_);
}

PublishedFit LayerFitter::run() {
  result_.profile = donor_;
  read_layers();
  fit_kind(OpKind::matmul, true);
  for (const OpKind kind :
       {OpKind::rms_norm, OpKind::rope_append, OpKind::silu_mul, OpKind::embedding, OpKind::sample}) {
    fit_kind(kind, false);
  }
  fit_attention();
  GpuProfile& profile = result_.profile;
  KindProfile prefill = profile.kinds.at("attention.bfloat16");
  prefill.compute_efficiency = profile.kinds.at("matmul.bfloat16").compute_efficiency;
  prefill.unit_latency_s = {};
  prefill.measured = false;
  prefill.samples = 0;
  prefill.hold_out = {};
  prefill.by_regime.clear();
  prefill.sampled_shapes.clear();
  prefill.source = "borrowed: bandwidth and latency of decode attention, compute efficiency of products";
  profile.kinds["prefill_attention.bfloat16"] = prefill;
  profile.name = spec_.name;
  profile.sample_files.clear();
  for (const std::filesystem::path& file : {layers_file_, attention_file_}) {
    profile.sample_files.push_back({file.filename().string(), xxh3_of_file(file)});
  }
  profile.provenance =
      "Fitted from measurements that others made and published, not from our own kernels: kernel times in vLLM 0.19.0 "
      "of "
      "LLMServingSim 2.0 (MIT, commit 5daddb2), " +
      llm_.name +
      ". Borrowed from the h100-sxm profile: launch gaps, PCIe, all-reduce, L2 bandwidth by SMs and clock, and every "
      "operation that those tables do not have.";
  return std::move(result_);
}

}  // namespace

PublishedFit fit_vllm_layers(const std::filesystem::path& folder, const std::string& table, const std::string& gpu,
                             const std::string& llm) {
  return LayerFitter(folder, table, gpu, llm).run();
}

}  // namespace retrosim
