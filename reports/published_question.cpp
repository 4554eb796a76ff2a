#include "reports/published_question.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "model/error.h"
#include "model/gpu_spec.h"
#include "reports/published_systems.h"

namespace retrosim {
namespace {

/// "≈31.0" -> 31; "68–71" -> their middle; "53.78*" -> 53.78. Bounds and words are refused.
double number_of(std::string text) {
  constexpr std::string_view kAbout = "≈";
  constexpr std::string_view kDash = "–";
  if (text.starts_with(kAbout)) text.erase(0, kAbout.size());
  if (text.ends_with(" GB")) text.erase(text.size() - 3);
  const std::size_t dash = text.find(kDash);
  if (dash != std::string::npos) {
    return (number_of(text.substr(0, dash)) + number_of(text.substr(dash + kDash.size()))) / 2;
  }
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || !(value > 0)) {
    throw Refusal{"the value \"" + text + "\" is not one number"};
  }
  return value;
}

/// "8K" -> 8192, "10k" -> 10,000, "11,770"; none when it is anything else.
std::optional<std::int64_t> tokens_of(std::string text) {
  std::erase(text, ',');
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || value < 1) return {};
  const std::string_view unit(parsed.ptr, static_cast<std::size_t>(text.data() + text.size() - parsed.ptr));
  if (unit.empty()) return value;
  if (unit == "K") return value * 1024;
  if (unit == "k") return value * 1000;
  return {};
}

struct MetricName {
  std::string_view prefix;
  std::string_view unit;
  PublishedMetric metric;
};
constexpr std::array kMetrics{
    MetricName{"decode latency per token", "ms", PublishedMetric::step_latency_ms},
    MetricName{"decode latency per step", "ms", PublishedMetric::step_latency_ms},
    MetricName{"decode latency", "ms", PublishedMetric::step_latency_ms},
    MetricName{"decode step", "ms", PublishedMetric::step_latency_ms},
    MetricName{"TPOT", "ms", PublishedMetric::step_latency_ms},
    MetricName{"throughput", "tok/s", PublishedMetric::tokens_per_s},
    MetricName{"single-request speed", "tok/s", PublishedMetric::tokens_per_s},
    MetricName{"maximum throughput", "tok/s", PublishedMetric::generation_tokens_per_s},
    MetricName{"self-attention time, one layer", "us", PublishedMetric::layer_attention_us},
    MetricName{"attention kernel, one layer", "us", PublishedMetric::layer_attention_us},
    MetricName{"attention, one layer", "us", PublishedMetric::layer_attention_us},
    MetricName{"page-estimation kernel, one layer", "us", PublishedMetric::layer_page_score_us},
    MetricName{"estimate part of a step", "ms", PublishedMetric::page_score_ms},
    MetricName{"end-to-end decode speed-up over FlashInfer", "x", PublishedMetric::step_speedup},
    MetricName{"decode speed relative to LServe (=1)", "ratio", PublishedMetric::step_speedup},
    MetricName{"self-attention speed-up over FlashInfer", "x", PublishedMetric::layer_speedup},
    MetricName{"estimation time / full FlashInfer attention time", "ratio", PublishedMetric::page_score_over_layer},
    MetricName{"KV cache size", "GB", PublishedMetric::gpu_kv_gb},
    MetricName{"cache memory per sequence", "GB", PublishedMetric::gpu_kv_gb},
    MetricName{"hash-table size", "", PublishedMetric::host_index_gb}};

struct NotAFigure {
  std::string_view prefix;
  std::string_view why;
};
constexpr std::array kNotFigures{
    NotAFigure{"page recalls",
               "a count; the recalls that arkvale assumes without a trace were derived from this table"},
    NotAFigure{"lower bound of time", "arithmetic of the paper, nothing that ran"},
    NotAFigure{"throughput relative to 4096", "the batch changes between the two and what else ran is not stated"},
    NotAFigure{"maximum decode throughput", "the axis says relative and the batch is not stated"},
    NotAFigure{"throughput at", "the batch is not stated"},
    NotAFigure{"throughput gain", "the batches are not stated"},
    NotAFigure{"prefill time", "prefill, not decoding"},
    NotAFigure{"TTFT", "prefill, not decoding"},
    NotAFigure{"time to 2nd token", "prefill, not decoding"},
    NotAFigure{"whole-generation latency", "FlexGen's offloading schedule is not modelled"},
    NotAFigure{"generation throughput", "FlexGen's, DeepSpeed's and Accelerate's offloading is not modelled"},
    NotAFigure{"TPOT part", "a part whose bounds are not stated"},
    NotAFigure{"per-layer time", "GPU and model are not stated"},
    NotAFigure{"attention latency relative to full", "the budget is not stated"},
    NotAFigure{"attention latency at equal accuracy", "the model is not stated"},
    NotAFigure{"attention speed-up at equal accuracy", "the model is not stated"},
    NotAFigure{"added latency per token over Quest", "GPU, context and batch are not stated"},
    NotAFigure{"added memory traffic", "context and batch are not stated"},
    NotAFigure{"speed-up over", "the batch is not stated"}};

PublishedMetric metric_of(const PublishedRow& row) {
  for (const NotAFigure& known : kNotFigures) {
    if (row.metric.starts_with(known.prefix)) throw Refusal{"\"" + row.metric + "\": " + std::string(known.why)};
  }
  for (const MetricName& known : kMetrics) {
    if (row.metric.starts_with(known.prefix) && row.unit == known.unit) return known.metric;
  }
  throw Refusal{"metric \"" + row.metric + "\" (" + row.unit + ") is no latency, rate, speed-up or size of decoding"};
}

/// Rows that a parameter was derived from, by number and the start of their source.
struct Derivation {
  std::string_view row;
  std::string_view source;
  std::string_view parameter;
};
constexpr std::array kDerivations{
    Derivation{"271", "MagicPIG repo", "magicpig released: share of host bandwidth on gathered rows"},
    Derivation{"281", "MagicPIG repo", "magicpig released: share of host bandwidth on gathered rows"},
    Derivation{"408", "LServe paper", "omniserve: instructions per element of KV4 attention"},
    Derivation{"412", "LServe paper", "omniserve: instructions per element of KV4 attention"},
    Derivation{"414", "LServe paper", "omniserve: host time per launch"}};

std::string derivation_of(const PublishedRow& row) {
  for (const Derivation& known : kDerivations) {
    if (row.row == known.row && row.source.starts_with(known.source)) return std::string(known.parameter);
  }
  return {};
}

PolicyParams budget_of(const PublishedRow& row, const PublishedSystem& system, bool needed) {
  PolicyParams params;
  params.variant = system.variant;
  if (system.policy == "full") return params;
  if (system.policy == "magicpig") {
    const LshSetting& setting = find_lsh_setting(row.budget);
    params.budget = setting.share;
    params.options = {{"lsh_bits", setting.bits}, {"lsh_tables", setting.tables}};
    return params;
  }
  if (system.published == "DuoAttention" || system.published == "LServe static sparsity only") {
    params.budget = 1;
    return params;
  }
  if (!needed) return params;
  const std::string first = row.budget.substr(0, row.budget.find(' '));
  const bool only_icecaches = row.budget.starts_with("256 (IceCache)");
  const auto tokens = tokens_of(first);
  const std::string rest = first.size() < row.budget.size() ? row.budget.substr(first.size() + 1) : "";
  if (!tokens || (only_icecaches && system.policy != "icecache") ||
      (!rest.empty() && rest != "(paper default)" && !only_icecaches)) {
    throw Refusal{"the budget \"" + row.budget + "\" is not a number of tokens"};
  }
  params.budget_tokens = *tokens;
  return params;
}

/// "1024 in + 512 out": the prompt and half of the output are the mean context.
void set_lengths(const PublishedRow& row, PublishedCase& result) {
  const std::size_t in = row.context.find(" in + ");
  const std::size_t out = row.context.find(" out");
  if (result.metric == PublishedMetric::generation_tokens_per_s && in != std::string::npos &&
      out != std::string::npos) {
    const auto prompt = tokens_of(row.context.substr(0, in));
    const auto output = tokens_of(row.context.substr(in + 6, out - in - 6));
    if (prompt && output) {
      result.output_tokens = *output;
      result.config.context = *prompt + *output / 2;
      result.assumptions.emplace_back("prefill of the prompts and decoding at the mean context, one after the other");
      return;
    }
  }
  const auto context = tokens_of(row.context);
  if (!context) throw Refusal{"the context \"" + row.context + "\" is not one number of tokens"};
  result.config.context = *context;
}

void set_system(const PublishedRow& row, const PublishedSystem& system, bool four_bit_weights, DecodeConfig& config,
                std::vector<std::string>& assumptions) {
  config.dense_layers = system.dense_layers;
  config.page_size = system.page_size;
  config.kv_dtype = system.kv;
  config.llm.weight_dtype = four_bit_weights ? DType::int4 : system.weights;
  std::string_view implementation = system.implementation;
  if (implementation.empty()) {
    implementation = system.policy == "quest" && !row.source.starts_with("Quest")
                         ? "hf-patched"
                         : implementation_of_source(row.source);
  }
  config.implementation = find_implementation(implementation, "implementation");
  if (config.llm.weight_dtype == DType::int4) {
    assumptions.emplace_back("layers' weights of 4 bits without their scales, embedding and LM head of 16");
  }
  if (row.budget.starts_with("page ")) {
    if (const auto size = tokens_of(row.budget.substr(5))) config.page_size = static_cast<int>(*size);
  }
}

DecodeConfig lserve_of(const DecodeConfig& config) {
  const PublishedSystem& system = find_published_system("LServe");
  DecodeConfig lserve = config;
  lserve.policy = make_policy(system.policy, {.budget_tokens = 4096});
  lserve.page_size = system.page_size;
  lserve.kv_dtype = system.kv;
  lserve.llm.weight_dtype = system.weights;
  lserve.implementation = find_implementation(system.implementation, "implementation");
  return lserve;
}

PublishedCase mapped(const PublishedRow& row) {
  PublishedCase result;
  std::vector<std::string>& assumptions = result.assumptions;
  result.metric = metric_of(row);
  if (row.source.starts_with("IceCache scaling") && row.policy == "Full") {
    throw Refusal{"what the Full baseline runs is not known: it reads the cache at 139 GB/s (policies.md, section 11)"};
  }
  const PublishedSystem& system = find_published_system(row.policy);
  const PublishedModel model = find_published_model(row.model);
  // Sizes are the same on every GPU.
  result.gpu = is_time(result.metric) ? find_published_gpu(row.gpu, assumptions) : "h100-sxm";
  DecodeConfig& config = result.config;
  config.llm = model.llm;
  set_lengths(row, result);
  if (config.llm.max_position < config.context + result.output_tokens) {
    assumptions.push_back("shape of " + config.llm.name + " with its position range extended");
    config.llm.max_position = config.context + result.output_tokens;
  }
  const bool per_sequence = !is_time(result.metric);
  const auto batch = per_sequence ? std::optional<std::int64_t>(1) : tokens_of(row.batch);
  if (!batch) throw Refusal{"the batch \"" + row.batch + "\" is not a number"};
  config.batch = *batch;
  result.value = number_of(row.value);

  const bool needs_budget = result.metric != PublishedMetric::layer_page_score_us &&
                            result.metric != PublishedMetric::page_score_ms &&
                            result.metric != PublishedMetric::page_score_over_layer;
  PolicyParams params = budget_of(row, system, needs_budget);
  if (row.policy == "IceCache(r)") params.options = {{"search_every_layers", 3}};
  if (row.policy == "DuoAttention") {
    // Heads that keep everything: a quarter of multi-head, half of grouped-query attention (DuoAttention, section 3).
    const bool multi_head = config.llm.num_kv_heads == config.llm.num_q_heads;
    params.options = {{"streaming_share", multi_head ? 0.75 : 0.5}};
    assumptions.emplace_back("DuoAttention as lserve's static heads with an unlimited budget");
  }
  config.policy = make_policy(system.policy, params);
  config.sm_count = find_gpu_spec(result.gpu).sm_count;
  set_system(row, system, model.four_bit_weights, config, assumptions);

  if (row.metric.starts_with("decode speed relative to LServe")) {
    result.baseline = lserve_of(config);
  } else if (result.metric == PublishedMetric::step_speedup || result.metric == PublishedMetric::layer_speedup ||
             result.metric == PublishedMetric::page_score_over_layer) {
    result.baseline = config;
    result.baseline->policy = make_policy("full", {});
  }
  if (config.policy->expected_recalls(config.num_pages(), config.page_size) > 0) {
    assumptions.emplace_back("pages recalled from the host at the policy's modelled rate, not from a trace");
  }
  result.derives = derivation_of(row);
  validate(config);
  if (result.baseline) validate(*result.baseline);
  return result;
}

}  // namespace

bool is_time(PublishedMetric metric) {
  return metric != PublishedMetric::gpu_kv_gb && metric != PublishedMetric::host_index_gb;
}

std::variant<PublishedCase, Unmapped> map_published_row(const PublishedRow& row) {
  try {
    return mapped(row);
  } catch (const Refusal& refusal) {
    return Unmapped{refusal.reason};
  } catch (const InputError& error) {
    return Unmapped{error.what()};
  }
}

}  // namespace retrosim
