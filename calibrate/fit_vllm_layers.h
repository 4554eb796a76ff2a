// A GPU profile from the kernel times that a vLLM profiler printed per layer and per decode attention
// (LLMServingSim 2.0): measurements that others made, not ours.
#pragma once

#include <filesystem>
#include <string>

#include "calibrate/fit_published.h"

namespace retrosim {

/// Reads vllm_layers_<table>.csv and vllm_attn_decode_<table>.csv of `folder` (of one GPU, one dense model, one TP
/// degree) and fits products, decode attention, norms, rotation, activation, embedding and sampling on four fifths of
/// their samples. What the tables lack is borrowed: launch gaps and copies from the bundled h100-sxm profile, prefill
/// attention from products and decode attention. `gpu` and `llm` are bundled names or files. Throws InputError for a
/// missing or malformed table, and for rows of another GPU than the first.
PublishedFit fit_vllm_layers(const std::filesystem::path& folder, const std::string& table, const std::string& gpu,
                             const std::string& llm);

}  // namespace retrosim
