// What a sparse KV policy does to the model's predictions: a real checkpoint decodes with full attention and with every
// variant, over the same tokens or each over its own, and the distributions of the next token are compared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernels/lockstep_decoders.h"
#include "traces/block_bootstrap.h"

namespace retrosim {

struct FidelityOptions {
  std::int64_t first_position = 0;  // of the first decoded token; those before it are the prompt, run densely
  std::int64_t steps = 0;           // 0: as many as the tokens allow
  std::vector<double> budgets = {0.15};
  // full | quest | retro:W | oracle | reuse:STEPS | served:STEPS, see fidelity_variant()
  std::vector<std::string> variants = {"quest",  "retro:2", "retro:4",  "retro:8", "retro:16",
                                       "oracle", "reuse:4", "served:2", "served:8"};
  bool free_running = false;  // each variant follows its own greedy choices, not the text
  int page_size = 16;         // tokens
  int dense_layers = 2;
  std::int64_t chunk_tokens = 128;  // of the dense passes
  int num_threads = 0;              // 0: as many as the machine has
  double time_limit_s = 0;          // decoding stops after the step that ends later; 0: never
  // Steps done, of how many, seconds since decoding began; may be empty.
  std::function<void(std::int64_t, std::int64_t, double)> progress = {};
};

/// The decoder of a variant:
///   full       dense attention through the same code: what rounding alone does
///   quest      Quest's selection
///   retro:W    RetroAttention with a window of W queries
///   oracle     the pages with the most true attention mass of the current query
///   reuse:N    Quest's selection made every N steps
///   served:N   Quest's selection and the pages selected in the N - 1 steps before: they serve the current query too
/// Throws InputError for another name.
kernels::LockstepMember fidelity_variant(const std::string& name, double budget, const FidelityOptions& options);

/// One variant at one budget. Everything is per decoded step, from the first.
struct FidelityRun {
  std::string variant;
  double budget = 0;
  std::vector<double> kl;             // KL(full || variant) of the next token, nats
  std::vector<std::uint8_t> agrees;   // both have the same most probable token
  std::vector<double> log_prob;       // that the variant gives to the next token of the text it follows
  std::vector<double> full_log_prob;  // that full attention gives to the same
  std::vector<double> pages_loaded;   // mean over sparse layers and KV heads
  std::vector<double> unseen_visits;  // likewise: sum_s |U_s|
  std::vector<std::int32_t> tokens;   // free-running: the token chosen at each step
};

struct FidelityResult {
  std::int64_t first_position = 0;
  std::int64_t steps = 0;
  double prompt_s = 0;
  double decode_s = 0;
  std::vector<FidelityRun> runs;  // [budgets][variants]; free-running: first of all "full"
};

/// Throws InputError for a checkpoint, tokens or options that cannot be used.
FidelityResult measure_fidelity(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                                const FidelityOptions& options);

/// KL(p || q) in nats of two rows of logits of one length, in double.
double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits);

}  // namespace retrosim
