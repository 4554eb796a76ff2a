// How a system runs a decode step, beside the policy that it follows: what launches its kernels, what it leaves unfused
// and which of its kernels are not the engineered ones that the profile describes. The default is an engine that
// replays one CUDA graph per step; the others are systems whose figures were published.
#pragma once

#include <span>
#include <string_view>

namespace retrosim {

struct Implementation {
  std::string_view name = "graph";
  // Host time to issue one operation; the GPU cannot begin it earlier. 0: the step is one CUDA graph.
  double host_issue_s = 0;
  // Small kernels of each layer that `graph` fuses into others: separate Q, K, V and gate, up products' outputs,
  // residual sums, the pieces of a norm or a rotation written in a framework's own operations.
  int unfused_ops = 0;
  // Bandwidth of products with 4-bit weights, relative to that of products with 16-bit weights.
  double int4_bandwidth_share = 1;
  // With quantised weights, embedding and LM head stay in 16 bits.
  bool keeps_head_in_16_bits = false;
  // False: page scoring runs one block per sequence and query head, not split along the pages.
  bool splits_page_score = true;
  // Attention on CUDA cores, once per query head: instructions per element of the keys and values that it visits.
  // 0: on tensor cores, a group's query heads sharing what is loaded.
  double attention_instructions_per_element = 0;
  // One layer's kernels run again and again, as in a kernel benchmark: what fits L2 is found there.
  bool repeats_one_layer = false;
};

/// The built-in ones, "graph" first; implementation.cpp says where each number comes from.
std::span<const Implementation> implementations();
/// Throws InputError naming `field` and listing the names.
const Implementation& find_implementation(std::string_view name, std::string_view field);

}  // namespace retrosim
