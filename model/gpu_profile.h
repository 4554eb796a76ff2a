// A GPU's datasheet plus what calibration learned about it: the parameters that pricing needs, with their provenance.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/gpu_spec.h"
#include "model/latency_table.h"
#include "model/op.h"

namespace retrosim {

/// A fitted number and its 95 % confidence interval.
struct Fitted {
  double value = 0;
  double low = 0;
  double high = 0;
};

/// Range of a quantity over the samples that a fit saw; questions outside are extrapolated.
struct Domain {
  double min_bytes = 0;  // memory bytes of one operation (OpWork in pricing.h: HBM and L2)
  double max_bytes = 0;
  double min_flops = 0;
  double max_flops = 0;
};

/// One shape that was measured; a question within a few per cent of it is answered as `measured`.
struct SampledShape {
  double bytes = 0;  // HBM and L2
  double flops = 0;
  double units = 0;  // OpWork::units
};

/// Errors on samples held out of the fit, as fractions.
struct HoldOut {
  std::int64_t samples = 0;
  double mape = 0;
  double median_abs_error = 0;
  double p95_abs_error = 0;
  double bias = 0;  // mean of predicted / measured - 1
};

/// Hold-out errors of the samples of one regime, e.g. "rows 1-16".
struct RegimeHoldOut {
  std::string regime;
  HoldOut hold_out;
};

/// Calibrated roofline of one operation kind (see pricing.h for the formula).
struct KindProfile {
  Fitted fixed_latency_s;            // per launch, before bytes or FLOPs count; without graph_node_s
  Fitted hbm_efficiency;             // sustained share of the datasheet bandwidth, (0, 1]
  Fitted compute_efficiency;         // sustained share of the engine's peak, (0, 1]
  Fitted half_bandwidth_bytes;       // bytes per launch at which half of that bandwidth is reached (ramp-up), >= 0
  Fitted memory_half_units;          // work units at which half of the bandwidth is reached (too few blocks), >= 0
  Fitted compute_half_units;         // work units at which half of the compute rate is reached, >= 0
  Fitted unit_latency_s;             // serial time of one work unit on its SM, >= 0
  Fitted serial_token_s;             // of decode attention: one token of OpWork::serial_tokens, >= 0
  std::vector<LatencyTable> tables;  // factors on the roofline's time, multiplied; none: the formula alone
  // What a launch saves (below 0: costs) in a step beside a chain of its like, from which the rest is fitted: it starts
  // while the kernel before it ends.
  double step_overlap_s = 0;            // launches of at most kFewRows rows (pricing.h)
  double many_rows_step_overlap_s = 0;  // of more: products by cuBLASLt, which do not start early
  Domain domain;
  HoldOut hold_out;
  std::vector<RegimeHoldOut> by_regime;
  std::vector<SampledShape> sampled_shapes;  // distinct ones
  std::int64_t samples = 0;                  // that the fit saw, hold-out excluded
  std::string source;                        // where the samples are or who measured them
  bool measured = false;  // fitted on samples of this kind on this GPU; false: borrowed (transferred)
};

/// A file of raw samples beside the profile; `xxh3_64` is the XXH3 hash of its bytes, 16 hex digits.
struct SampleFile {
  std::string path;  // relative to the profile's folder
  std::string xxh3_64;
};

/// JSON schema retrosim.gpu-profile/1. Latencies of kinds are those of a kernel inside a CUDA graph without the gap
/// before it: whoever schedules the graph adds graph_node_s between dependent kernels.
struct GpuProfile {
  std::string name;
  GpuSpec spec;
  bool merges_in_attention = false;          // attention's kernels merge their splits (DecodeConfig)
  bool few_row_products = false;             // products of few rows leave partial results (DecodeConfig)
  std::map<std::string, KindProfile> kinds;  // key: "matmul.bfloat16", "attention.fp8", or a bare kind name
  double graph_node_s = 0;                   // gap between dependent kernels inside one CUDA graph
  double graph_launch_s = 0;                 // once per step
  double kernel_launch_s = 0;                // back-to-back launch without a graph
  double unseen_visit_s = 0;  // of decode attention: serial time of one older query's unseen page on its SM
  double pcie_h2d_bytes_per_s = 0;
  double pcie_d2h_bytes_per_s = 0;
  double pcie_latency_s = 0;
  double pcie_copy_s = 0;  // each further copy of one batch, beside its bytes
  double interconnect_efficiency = 0;
  double interconnect_latency_s = 0;    // of one all-reduce
  double l2_bandwidth_bytes_per_s = 0;  // of data that a preceding kernel left in L2
  double host_memory_bytes_per_s = 0;
  double host_flops_per_s = 0;
  std::vector<SampleFile> sample_files;
  std::string provenance;  // where these numbers come from
};

/// A bundled GPU name (its calibrated profile if there is one, else its datasheet with the efficiencies of a
/// calibrated GPU of the same compute capability, else of h100-sxm), or a path to a profile or spec JSON. Throws
/// InputError.
GpuProfile find_gpu_profile(std::string_view name_or_path);
/// Also refuses a sample file that is there and does not have the hash that the profile states.
GpuProfile load_gpu_profile(const std::filesystem::path& file);
GpuProfile parse_gpu_profile(std::string_view json_text, std::string_view origin);
std::string to_json_text(const GpuProfile& profile);

/// Datasheet of `spec` with the efficiencies and latencies of `donor`; link and L2 bandwidths keep their share of the
/// datasheet's (L2: of SMs times clock), and the share of HBM bandwidth that is sustained follows the GPU's generation
/// (one factor each). Every kind is marked as not measured.
GpuProfile transfer_profile(const GpuSpec& spec, const GpuProfile& donor);

}  // namespace retrosim
