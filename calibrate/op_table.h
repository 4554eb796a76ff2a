// A table of operation times that somebody measured, as operations to be priced: aic_gemm_*, aic_attn_decode_*,
// vllm_layers_* and vllm_attn_decode_* (../shared/measured), or any CSV with their columns.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/gpu_profile.h"
#include "model/llm_spec.h"
#include "model/op.h"

namespace retrosim {

/// One row: what was measured takes the sum of `ops`, and `gaps` launch gaps of a CUDA graph.
struct OpTableRow {
  std::string label;        // the row's cells before the time
  std::string regime;       // for errors by regime
  std::string reason = {};  // not empty: left out of the comparison, and why
  std::vector<Op> ops;
  int gaps = 0;
  double measured_us = 0;
};

struct OpTable {
  std::string format;   // "gemm", "attention_decode", "vllm_layers" or "vllm_attention_decode"
  bool by_vllm = true;  // kernels of vLLM, not of this project
  std::vector<OpTableRow> rows;
};

/// Recognises the format by the header. `spec` is the GPU that the rows are priced on: its L2 decides which rows were
/// measured out of L2. Throws InputError naming file, line, column and value for anything missing, malformed or of an
/// unknown dtype, layer or model.
OpTable read_op_table(const std::filesystem::path& csv, const GpuSpec& spec);

/// The operation that a layer of vllm_layers_* is, for `rows` rows on one of `tp` GPUs. Throws InputError naming `file`
/// for an unknown layer.
OpShape vllm_layer_shape(const LlmSpec& llm, const std::string& layer, std::int64_t rows, std::int64_t tp,
                         const std::string& file);

}  // namespace retrosim
