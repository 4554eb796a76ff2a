#include "reports/published_prediction.h"

#include <initializer_list>
#include <stdexcept>

#include "model/pricing.h"
#include "model/step_graph.h"
#include "sim/simulate.h"

namespace retrosim {
namespace {

constexpr int kSteps = 4;
constexpr double kGb = 1e9;

SimulationResult simulate(const DecodeConfig& config, const GpuProfile& gpu) {
  std::vector<StepDemand> steps(kSteps, demand_without_unseen(config));
  for (int step = 0; step < kSteps; ++step) steps[static_cast<std::size_t>(step)].position = step;
  return simulate_decode(config, gpu, steps);
}

double step_us(const DecodeConfig& config, const GpuProfile& gpu) { return simulate(config, gpu).step.latency_us_mean; }

/// Time of the operations of `kinds`, in the last layer alone or in all; of a step that makes its selection.
double ops_us(const DecodeConfig& config, const GpuProfile& gpu, std::initializer_list<OpKind> kinds, bool all_layers) {
  double latency_us = 0;
  for (const OpRecord& op : simulate(config, gpu).ops) {
    if (!all_layers && op.layer != config.llm.num_layers - 1) continue;
    for (const OpKind kind : kinds) latency_us += op.kind == kind ? op.latency_us : 0;
  }
  return latency_us;
}

double layer_us(const DecodeConfig& config, const GpuProfile& gpu) {
  return ops_us(config, gpu, {OpKind::page_score, OpKind::top_k, OpKind::attention, OpKind::attention_merge}, false);
}

double score_us(const DecodeConfig& config, const GpuProfile& gpu, bool all_layers) {
  return ops_us(config, gpu, {OpKind::page_score}, all_layers);
}

/// Launches of one prefill over all prompts, one after another.
double prefill_s(const DecodeConfig& config, std::int64_t prompt_tokens, const GpuProfile& gpu) {
  const Pricer pricer(gpu);
  const StepGraph graph = build_prefill(config, prompt_tokens, 0);
  double latency_s = gpu.graph_launch_s;
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    latency_s += pricer.price(graph.op(v)).latency_s() + gpu.graph_node_s;
  }
  return latency_s;
}

double generation_tokens_per_s(const PublishedCase& question, const GpuProfile& gpu) {
  const DecodeConfig& config = question.config;
  const auto output = static_cast<double>(question.output_tokens);
  const double decode_s = output * step_us(config, gpu) / 1e6;
  const double total_s = decode_s + prefill_s(config, config.context - question.output_tokens / 2, gpu);
  return static_cast<double>(config.batch) * output / total_s;
}

PolicyState state_of(const DecodeConfig& config) {
  return config.policy->state(config.llm, config.context, config.page_size, config.kv_dtype, config.dense_layers);
}

}  // namespace

double predict_published(const PublishedCase& question, const GpuProfile& gpu) {
  const DecodeConfig& config = question.config;
  switch (question.metric) {
    case PublishedMetric::step_latency_ms: return step_us(config, gpu) / 1e3;
    case PublishedMetric::tokens_per_s: return static_cast<double>(config.batch) * 1e6 / step_us(config, gpu);
    case PublishedMetric::generation_tokens_per_s:
      return question.output_tokens > 0 ? generation_tokens_per_s(question, gpu)
                                        : static_cast<double>(config.batch) * 1e6 / step_us(config, gpu);
    case PublishedMetric::layer_attention_us: return layer_us(config, gpu);
    case PublishedMetric::layer_page_score_us: return score_us(config, gpu, false);
    case PublishedMetric::page_score_ms: return score_us(config, gpu, true) / 1e3;
    case PublishedMetric::step_speedup: return step_us(question.baseline.value(), gpu) / step_us(config, gpu);
    case PublishedMetric::layer_speedup: return layer_us(question.baseline.value(), gpu) / layer_us(config, gpu);
    case PublishedMetric::page_score_over_layer:
      return score_us(config, gpu, false) / layer_us(question.baseline.value(), gpu);
    case PublishedMetric::gpu_kv_gb: return static_cast<double>(state_of(config).gpu_kv) / kGb;
    case PublishedMetric::host_index_gb: return static_cast<double>(state_of(config).host_metadata) / kGb;
  }
  throw std::logic_error("published metric without a prediction");
}

}  // namespace retrosim
