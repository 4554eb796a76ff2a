#include "model/implementation.h"

#include <algorithm>
#include <array>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

// Host time of one operation in eager PyTorch, its Python module included: SnapKV and StreamingLLM in Hugging Face
// transformers take 30 ms a token for Llama-3.1-8B on an A100 at 36k whatever they keep (IceCache's latency figure),
// and StreamingLLM 31 ms for Llama-2-7B on an A6000 with 256 tokens, where HBM would need 12 and 20 ms: 0.94 to 0.97 ms
// a layer for the 55 launches of a Llama layer written in PyTorch's operations. A fast desktop CPU does it in half of
// that (TinyChat's FP16 baseline on an RTX 4090: 16.2 to 20.0 ms).
constexpr double kEagerIssueS = 17e-6;
// A Llama layer in transformers 4.3x: two norms of 8 operations, rotation of 12, three and two products where the graph
// has one each, cache concatenation, residual sums, masks, softmax and casts: 55 launches against the graph's 10.
constexpr int kEagerUnfused = 45;
// The same model code with its norms, rotation, cache and attention replaced by one kernel each (quest/models/llama.py,
// ArkVale's adapter/modeling.py): three products for Q, K, V, two for gate and up, two residual sums, activation and
// product apart.
constexpr int kPatchedUnfused = 7;
// 4-bit weight-only products of llm-awq's first release, without what a framework adds per token: from Llama-2-7B to
// 13B (3.22 GB more 4-bit weights, scales included) TinyChat's tables add 7.84 ms on an A6000 and 4.88 ms on an RTX
// 4090: 0.535 and 0.655 of the datasheet's bandwidth, 8 more layers' small kernels included. Their mean, relative to
// the 0.884 of 16-bit products. (github.com/mit-han-lab/llm-awq, tinychat/README.md, 2023)
constexpr double kAwqShare = 0.595 / 0.884;
// Host time per operation of omniserve's Python engine: LServe's 10.02 ms at 4k (Llama-2-7B, A100, batch 1; LServe,
// Table 5), where the GPU has 4 ms of work, over 32 layers of 12 launches.
constexpr double kOmniserveIssueS = 26e-6;
constexpr int kOmniserveUnfused = 2;  // quantisation of activations before the output and the down projection
// KV4 attention of QServe and LServe, derived from the batch of 32 between 4,096 and 8,192 tokens (LServe, Table 1,
// pages of 128): 1.5e12 elements a second per query head, where CUDA cores issue 9.75e12 instructions a second at the
// profile's efficiency: one multiply-add and four to extract, convert, scale and shift.
constexpr double kKv4Instructions = 5;

constexpr std::array kImplementations{
    Implementation{}, Implementation{.name = "hf-eager", .host_issue_s = kEagerIssueS, .unfused_ops = kEagerUnfused},
    Implementation{.name = "hf-patched",
                   .host_issue_s = kEagerIssueS,
                   .unfused_ops = kPatchedUnfused,
                   .int4_bandwidth_share = kAwqShare,
                   .keeps_head_in_16_bits = true,
                   .splits_page_score = false},
    Implementation{.name = "omniserve",
                   .host_issue_s = kOmniserveIssueS,
                   .unfused_ops = kOmniserveUnfused,
                   .keeps_head_in_16_bits = true,
                   .splits_page_score = false,
                   .attention_instructions_per_element = kKv4Instructions},
    Implementation{.name = "kernel-benchmark", .splits_page_score = false, .repeats_one_layer = true}};

}  // namespace

std::span<const Implementation> implementations() { return kImplementations; }

const Implementation& find_implementation(std::string_view name, std::string_view field) {
  const auto found = std::ranges::find(kImplementations, name, &Implementation::name);
  if (found != kImplementations.end()) return *found;
  std::string names;
  for (const Implementation& known : kImplementations) names.append(names.empty() ? "" : ", ").append(known.name);
  throw InputError("", std::string(field), std::string(name), "one of " + names);
}

}  // namespace retrosim
