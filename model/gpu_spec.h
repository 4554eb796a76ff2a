// A GPU as its datasheet describes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "model/dtype.h"

namespace retrosim {

/// Datasheet figures of one GPU and of the node it usually sits in. Dense (not sparse) arithmetic rates.
/// In JSON (schema retrosim.gpu-spec/1) every key must be there; those marked "null" below may be null, read as 0.
struct GpuSpec {
  std::string name;    // e.g. "h100-sxm"
  std::string source;  // where the figures are from
  double hbm_bandwidth_bytes_per_s = 0;
  std::int64_t hbm_capacity_bytes = 0;
  double bf16_flops_per_s = 0;       // tensor cores; also fp16
  double fp8_flops_per_s = 0;        // null: no fp8 arithmetic, priced as bf16
  double int8_ops_per_s = 0;         // null: not stated, priced as bf16
  double fp4_flops_per_s = 0;        // null: no fp4 arithmetic
  double cuda_core_flops_per_s = 0;  // fp32 on CUDA cores
  std::int64_t l2_bytes = 0;
  int sm_count = 0;
  double sm_clock_hz = 0;                         // boost clock
  int compute_capability_x10 = 0;                 // 90 is 9.0; null: not a CUDA device
  double interconnect_bandwidth_bytes_per_s = 0;  // one direction, to the other GPUs of the node
  double inter_node_bandwidth_bytes_per_s = 0;    // one direction, per GPU; null: not stated
  double pcie_bandwidth_bytes_per_s = 0;          // one direction, host to GPU
  int gpus_per_node = 1;
  double power_watts = 0;  // null: not stated

  /// Dense arithmetic peak of the unit that a product of this dtype runs on, FLOP/s.
  double peak_flops_per_s(DType dtype) const;

  friend bool operator==(const GpuSpec&, const GpuSpec&) = default;
};

/// A bundled name or a path to a JSON file. Throws InputError, listing the bundled names.
GpuSpec find_gpu_spec(std::string_view name_or_path);
GpuSpec parse_gpu_spec(std::string_view json_text, std::string_view origin);
/// The document that parse_gpu_spec reads back to an equal spec.
std::string to_json_text(const GpuSpec& spec);
/// Names of the specs compiled into the program, sorted.
std::vector<std::string> bundled_gpu_names();

}  // namespace retrosim
