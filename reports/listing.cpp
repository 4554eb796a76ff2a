#include "reports/listing.h"

#include "model/gpu_profile.h"
#include "model/gpu_spec.h"
#include "model/llm_spec.h"
#include "reports/format.h"

namespace retrosim {
namespace {

/// True when any operation kind was fitted on this GPU itself.
bool is_calibrated(const GpuProfile& profile) {
  for (const auto& [kind, fitted] : profile.kinds) {
    if (fitted.measured) return true;
  }
  return false;
}

std::string layers_of(const LlmSpec& llm) {
  return std::to_string(llm.num_layers) + (llm.moe.num_experts > 0 ? " (MoE)" : "");
}

}  // namespace

Json gpus_json() {
  Json list = Json::array();
  for (const std::string& name : bundled_gpu_names()) {
    const GpuProfile profile = find_gpu_profile(name);
    const GpuSpec& gpu = profile.spec;
    list.push_back({{"name", name},
                    {"hbm_bandwidth_bytes_per_s", gpu.hbm_bandwidth_bytes_per_s},
                    {"hbm_capacity_bytes", gpu.hbm_capacity_bytes},
                    {"bf16_flops_per_s", gpu.bf16_flops_per_s},
                    {"fp8_flops_per_s", gpu.fp8_flops_per_s},
                    {"sm_count", gpu.sm_count},
                    {"gpus_per_node", gpu.gpus_per_node},
                    {"calibrated", is_calibrated(profile)},
                    {"profile_provenance", profile.provenance}});
  }
  return {{"schema", "retrosim.gpus/1"}, {"gpus", std::move(list)}};
}

Table gpus_table() {
  Table table({"gpu", "profile", "HBM", "bandwidth", "bf16 dense", "SMs"}, 2);
  for (const std::string& name : bundled_gpu_names()) {
    const GpuProfile profile = find_gpu_profile(name);
    table.add({name, is_calibrated(profile) ? "calibrated" : "transferred",
               format_bytes(static_cast<double>(profile.spec.hbm_capacity_bytes)),
               format_bytes(profile.spec.hbm_bandwidth_bytes_per_s) + "/s",
               format_flops(profile.spec.bf16_flops_per_s) + "/s", std::to_string(profile.spec.sm_count)});
  }
  return table;
}

Json llms_json() {
  Json list = Json::array();
  for (const std::string& name : bundled_llm_names()) {
    const LlmSpec llm = find_llm_spec(name);
    list.push_back({{"name", name},
                    {"model_type", llm.model_type},
                    {"num_params", llm.num_params()},
                    {"num_layers", llm.num_layers},
                    {"hidden_size", llm.hidden_size},
                    {"num_q_heads", llm.num_q_heads},
                    {"num_kv_heads", llm.num_kv_heads},
                    {"head_dim", llm.head_dim},
                    {"max_position", llm.max_position},
                    {"num_experts", llm.moe.num_experts},
                    {"weight_dtype", name_of(llm.weight_dtype)}});
  }
  return {{"schema", "retrosim.llms/1"}, {"llms", std::move(list)}};
}

Table llms_table() {
  Table table({"llm", "type", "parameters", "layers", "Q/KV heads", "head size", "context"}, 2);
  for (const std::string& name : bundled_llm_names()) {
    const LlmSpec llm = find_llm_spec(name);
    table.add({name, llm.model_type, fixed(static_cast<double>(llm.num_params()) / 1e9, 2) + " B", layers_of(llm),
               std::to_string(llm.num_q_heads) + "/" + std::to_string(llm.num_kv_heads), std::to_string(llm.head_dim),
               std::to_string(llm.max_position)});
  }
  return table;
}

}  // namespace retrosim
