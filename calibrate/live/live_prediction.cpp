#include "calibrate/live/live_prediction.h"

#include <algorithm>

#include "model/error.h"
#include "model/pricing.h"
#include "model/step_graph.h"
#include "sim/step_simulator.h"

namespace retrosim {
namespace {

/// Steps that one selection serves; 1: every step selects.
std::int64_t interval_of(const Policy& policy) {
  if (policy.name() != "reuse") return 1;
  for (const PolicyOption& option : policy.options()) {
    if (option.name == "interval") return static_cast<std::int64_t>(option.value);
  }
  return 1;
}

/// Prices of launches among their like, as the live operations' chains are.
GpuProfile without_overlap(GpuProfile gpu) {
  for (auto& [key, kind] : gpu.kinds) kind.step_overlap_s = kind.many_rows_step_overlap_s = 0;
  return gpu;
}

/// Runs and prices one step; adds to the operations' means.
class Prediction {
 public:
  Prediction(const DecodeConfig& config, const LiveResult& result, const GpuProfile& gpu)
      : config_(config), result_(result), gpu_(gpu), pricer_(gpu), chain_pricer_(without_overlap(gpu)) {}

  LivePrediction step(std::int64_t position) {
    StepDemand demand = demand_without_unseen(config_);
    demand.position = position;
    for (std::size_t i = 0; i < result_.layers.size(); ++i) {
      if (config_.is_sparse(static_cast<int>(i))) demand.layers[i] = result_.layers[i];
    }
    const StepGraph graph = live_graph(config_, demand, result_.config.prefetch_bytes);
    std::vector<Price> prices;
    LivePrediction out;
    std::map<std::string, int> launches;
    double products_us = 0;
    for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
      const Op& op = graph.op(v);
      prices.push_back(pricer_.price(op));
      const double us = 1e6 * (prices.back().latency_s() + gpu_.graph_node_s);
      out.op_us[op.name] += 1e6 * (chain_pricer_.price(op).latency_s() + gpu_.graph_node_s);
      out.op_kind[op.name] = std::string(name_of(op.kind()));
      ++launches[op.name];
      if (op.kind() == OpKind::matmul) products_us += us;
      out.roofline_us += 1e6 * roofline_s(op);
    }
    for (auto& [name, us] : out.op_us) us /= launches[name];
    StepSimulator simulator(graph, gpu_.graph_launch_s, gpu_.graph_node_s);
    out.step_us = us_from_ps(simulator.run(prices).latency);
    if (simulator.single_stream()) out.without_products_us = out.step_us - products_us;
    const Traffic traffic = total_traffic(graph);
    out.hbm_bytes = static_cast<double>(traffic.hbm());
    out.kv_traffic_share = static_cast<double>(traffic.kv_read + traffic.summary_read) / out.hbm_bytes;
    return out;
  }

 private:
  double roofline_s(const Op& op) const {
    const Traffic traffic = op.bytes_moved();
    const double peak = op.engine() == Engine::tensor_core ? gpu_.spec.peak_flops_per_s(pricing_dtype(op))
                                                           : gpu_.spec.cuda_core_flops_per_s;
    const double link = static_cast<double>(std::max(traffic.host_to_device, traffic.device_to_host));
    return std::max({static_cast<double>(traffic.hbm()) / gpu_.spec.hbm_bandwidth_bytes_per_s, op.flops() / peak,
                     link / gpu_.spec.pcie_bandwidth_bytes_per_s});
  }

  DecodeConfig config_;
  const LiveResult& result_;
  const GpuProfile& gpu_;
  Pricer pricer_;
  Pricer chain_pricer_;
};

}  // namespace

LivePrediction predict(const LiveResult& result, const GpuProfile& gpu) {
  DecodeConfig config = decode_config(result.config, result.sm_count > 0 ? result.sm_count : gpu.spec.sm_count);
  const auto layers = static_cast<std::size_t>(config.llm.num_layers);
  if (result.step_us.empty() || result.layers.size() != layers) {
    throw InputError(result.config.id, "layers", std::to_string(result.layers.size()),
                     "timed steps and the demand of " + std::to_string(layers) + " layers");
  }
  config.context = result.mean_context();
  Prediction prediction(config, result, gpu);
  const std::int64_t interval = interval_of(*config.policy);
  if (interval == 1) return prediction.step(-1);
  LivePrediction selects = prediction.step(0);
  const LivePrediction keeps = prediction.step(1);
  const auto mean = [interval](double once, double otherwise) {
    return (once + static_cast<double>(interval - 1) * otherwise) / static_cast<double>(interval);
  };
  selects.step_us = mean(selects.step_us, keeps.step_us);
  selects.without_products_us = 0;  // a step without products was measured with its selection
  selects.roofline_us = mean(selects.roofline_us, keeps.roofline_us);
  return selects;
}

double measured_step_us(const LiveResult& result) {
  const DecodeConfig config = decode_config(result.config, std::max(1, result.sm_count));
  const std::int64_t interval = interval_of(*config.policy);
  if (interval == 1) return median_of(result.step_us);
  std::vector<double> selects;
  std::vector<double> keeps;
  for (std::size_t i = 0; i < result.step_us.size(); ++i) {
    const std::int64_t position = result.first_context + static_cast<std::int64_t>(i) - 1;
    (position % interval == 0 ? selects : keeps).push_back(result.step_us[i]);
  }
  const auto rest = static_cast<double>(interval - 1);
  return (median_of(selects) + rest * median_of(keeps)) / static_cast<double>(interval);
}

}  // namespace retrosim
