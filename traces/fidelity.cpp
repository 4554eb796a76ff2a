#include "traces/fidelity.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <thread>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/forward/next_token.h"
#include "model/error.h"
#include "traces/record.h"

namespace retrosim {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::DenseForward;

constexpr std::int64_t kReferenceTokens = 32;  // rows of reference logits held at once

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The number after the colon of "retro:8".
int number_of(const std::string& name, std::size_t colon, int low, int high) {
  int value = 0;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + colon + 1, end, value);
  if (error != std::errc{} || stopped != end || value < low || value > high) {
    throw InputError("", "variant", name,
                     "a number from " + std::to_string(low) + " to " + std::to_string(high) + " after the colon");
  }
  return value;
}

class Experiment {
 public:
  Experiment(const LlmWeights& weights, const std::vector<std::int32_t>& tokens, const FidelityOptions& options,
             std::int64_t steps, int threads)
      : weights_(weights),
        tokens_(tokens),
        options_(options),
        steps_(steps),
        first_(options.first_position),
        forward_(weights, first_ + steps, threads),
        workers_(threads) {
    if (options.free_running) add("full", options.budgets.front());
    for (const double budget : options.budgets) {
      for (const std::string& variant : options.variants) add(variant, budget);
    }
    result_.first_position = first_;
    result_.steps = steps;
  }

  FidelityResult run(int threads) {
    const Clock::time_point start = Clock::now();
    for (std::int64_t position = 0; position < first_;) position += run_dense(tokens_, position, first_ - position);
    result_.prompt_s = seconds_since(start);
    kernels::LockstepDecoders decoders(weights_, forward_, first_, members_, first_ + steps_, threads);
    start_ = Clock::now();
    if (options_.free_running) {
      follow_own_choices(decoders);
    } else {
      follow_text(decoders);
    }
    result_.decode_s = seconds_since(start_);
    return std::move(result_);
  }

 private:
  void add(const std::string& variant, double budget) {
    members_.push_back(fidelity_variant(variant, budget, options_));
    FidelityRun& run = result_.runs.emplace_back();
    run.variant = variant;
    run.budget = budget;
  }

  // Runs at most one chunk of `text` from `position`, at most `limit` tokens; returns how many.
  std::int64_t run_dense(const std::vector<std::int32_t>& text, std::int64_t position, std::int64_t limit) {
    const std::int64_t rows = std::min(options_.chunk_tokens, limit);
    forward_.run(std::span(text).subspan(position, rows));
    return rows;
  }

  void compare(FidelityRun& run, std::span<const float> full, std::span<const float> variant, std::int64_t position,
               std::int32_t next) const {
    const kernels::NextToken of_full = kernels::predict(position, next, full);
    const kernels::NextToken of_variant = kernels::predict(position, next, variant);
    run.kl.push_back(kl_divergence(full, variant));
    run.agrees.push_back(of_full.top1 == of_variant.top1 ? 1 : 0);
    run.log_prob.push_back(of_variant.next_log_prob);
    run.full_log_prob.push_back(of_full.next_log_prob);
  }

  void count_pages(FidelityRun& run, const kernels::HostDecoder& decoder, const DecodeConfig& config) const {
    double loaded = 0, unseen = 0, lists = 0;
    for (int layer = 0; layer < weights_.llm.num_layers; ++layer) {
      if (!config.is_sparse(layer)) continue;
      loaded += static_cast<double>(decoder.demand().layers[layer].pages_loaded);
      unseen += static_cast<double>(decoder.demand().layers[layer].unseen_visits);
      lists += weights_.llm.num_kv_heads;
    }
    run.pages_loaded.push_back(lists > 0 ? loaded / lists : 0);
    run.unseen_visits.push_back(lists > 0 ? unseen / lists : 0);
  }

  // Returns true when the time is over; then the steps done are all there are.
  bool ends_after(std::int64_t done) {
    if (options_.progress) options_.progress(done, steps_, seconds_since(start_));
    if (options_.time_limit_s <= 0 || seconds_since(start_) < options_.time_limit_s) return false;
    steps_ = result_.steps = done;
    return true;
  }

  void follow_text(kernels::LockstepDecoders& decoders) {
    const std::int64_t vocab = weights_.llm.vocab_size;
    std::vector<float> reference;
    for (std::int64_t step = 0; step < steps_; ++step) {
      const std::int64_t position = first_ + step;
      if (step % kReferenceTokens == 0) {
        const std::int64_t rows = std::min(kReferenceTokens, steps_ - step);
        forward_.run(std::span(tokens_).subspan(position, rows));
        reference = forward_.logits(0, rows);
      }
      decoders.step(std::vector<std::int32_t>(decoders.size(), tokens_[position]));
      const auto full = std::span(reference).subspan(step % kReferenceTokens * vocab, vocab);
      workers_.run(std::ssize(members_), [&](std::int64_t i) {
        compare(result_.runs[i], full, decoders.logits(i), position, tokens_[position + 1]);
        count_pages(result_.runs[i], decoders.decoder(i), members_[i].config);
      });
      if (ends_after(step + 1)) break;
    }
  }

  // The first decoded token is the text's, all others are the variant's own greedy choices. What full attention says of
  // each variant's text is computed afterwards, in dense passes over that text.
  void follow_own_choices(kernels::LockstepDecoders& decoders) {
    const std::int64_t vocab = weights_.llm.vocab_size;
    std::vector<std::int32_t> next(decoders.size(), tokens_[first_]);
    std::vector<std::vector<float>> logits(decoders.size());  // [steps, vocab]
    for (std::int64_t step = 0; step < steps_; ++step) {
      decoders.step(next);
      for (std::size_t i = 0; i < decoders.size(); ++i) {
        next[i] = decoders.decoder(i).sampled().front();
        result_.runs[i].tokens.push_back(next[i]);
        logits[i].insert(logits[i].end(), decoders.logits(i).begin(), decoders.logits(i).end());
        count_pages(result_.runs[i], decoders.decoder(i), members_[i].config);
      }
      if (ends_after(step + 1)) break;
    }
    for (std::size_t i = 0; i < decoders.size(); ++i) {
      FidelityRun& run = result_.runs[i];
      std::vector<std::int32_t> text{tokens_[first_]};
      text.insert(text.end(), run.tokens.begin(), run.tokens.end() - 1);
      forward_.rewind(first_);
      for (std::int64_t step = 0; step < steps_;) {
        const std::int64_t rows = run_dense(text, step, steps_ - step);
        const std::vector<float> full = forward_.logits(0, rows);
        for (std::int64_t row = 0; row < rows; ++row) {
          compare(run, std::span(full).subspan(row * vocab, vocab),
                  std::span(logits[i]).subspan((step + row) * vocab, vocab), first_ + step + row,
                  run.tokens[step + row]);
        }
        step += rows;
      }
    }
  }

  const LlmWeights& weights_;
  const std::vector<std::int32_t>& tokens_;
  const FidelityOptions& options_;
  std::int64_t steps_;
  std::int64_t first_;
  DenseForward forward_;
  kernels::Workers workers_;
  std::vector<kernels::LockstepMember> members_;
  FidelityResult result_;
  Clock::time_point start_;
};

}  // namespace

kernels::LockstepMember fidelity_variant(const std::string& name, double budget, const FidelityOptions& options) {
  const std::size_t colon = std::min(name.find(':'), name.size());
  const std::string kind = name.substr(0, colon);
  kernels::LockstepMember member;
  member.options.arithmetic = kernels::HostArithmetic::simd;
  member.config.page_size = options.page_size;
  member.config.dense_layers = options.dense_layers;
  PolicyParams params{.budget = budget};
  std::string policy = "quest";
  if (name == "full") {
    policy = "full";
  } else if (name == "oracle") {
    member.options.ranking = kernels::PageRanking::attention_mass;
  } else if (kind == "retro" && colon < name.size()) {
    member.config.window = number_of(name, colon, 2, kMaxWindow);
  } else if (kind == "reuse" && colon < name.size()) {
    policy = "reuse";
    params.options["interval"] = number_of(name, colon, 1, 1024);
  } else if (kind == "served" && colon < name.size()) {
    member.options.served_steps = number_of(name, colon, 2, 1024);
  } else if (name != "quest") {
    throw InputError("", "variant", name, "full, quest, retro:W, oracle, reuse:N or served:N");
  }
  member.config.policy = make_policy(policy, params);
  return member;
}

FidelityResult measure_fidelity(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                                const FidelityOptions& options) {
  const TokensFile tokens = load_tokens(tokens_file);
  const auto available = static_cast<std::int64_t>(tokens.tokens.size());
  if (options.first_position < 1 || options.first_position + 1 >= available) {
    throw InputError(tokens_file.string(), "first position", std::to_string(options.first_position),
                     "1 to " + std::to_string(available - 2) + ": a prompt before it and a token after it");
  }
  const std::int64_t most = available - 1 - options.first_position;
  const std::int64_t steps = options.steps > 0 ? options.steps : most;
  if (options.steps < 0 || steps > most) {
    throw InputError(tokens_file.string(), "steps", std::to_string(options.steps),
                     "1 to " + std::to_string(most) + ", or 0 for all");
  }
  if (options.chunk_tokens < 1) throw InputError("", "chunk", std::to_string(options.chunk_tokens), "at least 1 token");
  if (options.variants.empty()) throw InputError("", "variants", "none", "at least one");
  if (options.budgets.empty()) throw InputError("", "budgets", "none", "at least one");
  const int threads = options.num_threads > 0 ? options.num_threads
                                              : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const LlmWeights weights = load_llm_weights(checkpoint);
  return Experiment(weights, tokens.tokens, options, steps, threads).run(threads);
}

double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const auto log_sum = [](std::span<const float> logits) {
    const double high = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - high);
    return high + std::log(sum);
  };
  const double p_sum = log_sum(p_logits);
  const double q_sum = log_sum(q_logits);
  double kl = 0;
  for (std::size_t i = 0; i < p_logits.size(); ++i) {
    const double p_log = p_logits[i] - p_sum;
    kl += std::exp(p_log) * (p_log - (q_logits[i] - q_sum));
  }
  return kl;
}

}  // namespace retrosim
