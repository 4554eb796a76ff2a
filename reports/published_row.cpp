#include "reports/published_row.h"

#include <algorithm>
#include <array>
#include <boost/tokenizer.hpp>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>

#include "model/error.h"
#include "model/gpu_spec.h"

namespace retrosim {
namespace {

/// Ends the mapping of a row with a reason.
struct Refusal {
  std::string reason;
};

bool begins(std::string_view text, std::string_view prefix) { return text.starts_with(prefix); }

/// "≈31.0" -> 31; "68–71" -> their middle. Bounds and words are refused.
double number_of(std::string text) {
  for (const std::string_view mark : {"≈"}) {
    if (begins(text, mark)) text.erase(0, mark.size());
  }
  constexpr std::string_view kDash = "–";
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

struct PolicyName {
  std::string_view published;
  std::string_view policy;
  int dense_layers;  // of the published system
  int page_size;
};
constexpr std::array kPolicies{PolicyName{"Full", "full", 0, 16},
                               PolicyName{"Full (FlashInfer)", "full", 0, 16},
                               PolicyName{"Quest", "quest", 2, 16},
                               PolicyName{"TOVA", "tova", 2, 16},
                               PolicyName{"StreamingLLM", "streaming", 0, 16},
                               PolicyName{"SnapKV", "snapkv", 0, 16},
                               PolicyName{"ArkVale", "arkvale", 2, 32},
                               PolicyName{"PQCache", "pqcache", 0, 16},
                               PolicyName{"MagicPIG", "magicpig", 2, 16},
                               PolicyName{"IceCache", "icecache", 2, 16},
                               PolicyName{"IceCache(r)", "icecache", 2, 16},
                               PolicyName{"LServe", "lserve", 0, 64},
                               PolicyName{"INT4 KV (QServe), dense", "full", 0, 64}};

struct ModelName {
  std::string_view published;
  std::string_view llm;
};
constexpr std::array kModels{ModelName{"Llama-2-7B", "llama-2-7b"},
                             ModelName{"Llama-2-7B FP16 weights", "llama-2-7b"},
                             ModelName{"Llama-2-7B AWQ W4", "llama-2-7b"},
                             ModelName{"LongChat-7B-v1.5-32k", "llama-2-7b"},
                             ModelName{"LWM-Text-Chat-1M (7B)", "llama-2-7b"},
                             ModelName{"Llama-3-8B", "llama-3.1-8b"},
                             ModelName{"Llama-3.1-8B", "llama-3.1-8b"},
                             ModelName{"Llama-3.1-8B-Instruct", "llama-3.1-8b"},
                             ModelName{"Qwen3-4B-Instruct-2507", "qwen3-4b-instruct-2507"}};

struct LshSetting {
  std::string_view published;
  double bits;
  double tables;
  double share;  // of the keys that is sampled (MagicPIG, settings of its evaluation)
};
constexpr std::array kLshSettings{
    LshSetting{"K=10, L=150", 10, 150, 0.02},    LshSetting{"K=10, L=170", 10, 170, 0.025},
    LshSetting{"(K,L)=(10,150)", 10, 150, 0.02}, LshSetting{"(K,L)=(10,170)", 10, 170, 0.025},
    LshSetting{"(K,L)=(10,220)", 10, 220, 0.04}, LshSetting{"(K,L)=(9,120)", 9, 120, 0.04},
    LshSetting{"(K,L)=(8,75)", 8, 75, 0.05},     LshSetting{"(K,L)=(11,300)", 11, 300, 0.02}};

template <class Table>
const auto& find(const Table& table, const std::string& name, const char* what) {
  const auto found =
      std::ranges::find(table, std::string_view(name), [](const auto& entry) { return entry.published; });
  if (found == table.end()) throw Refusal{std::string(what) + " \"" + name + "\" is not modelled"};
  return *found;
}

std::string gpu_of(const std::string& text, std::vector<std::string>& assumptions) {
  if (begins(text, "RTX 6000 Ada")) return "rtx-6000-ada";
  if (begins(text, "RTX 4090")) return "rtx-4090";
  if (begins(text, "A100 80GB PCIe")) return "a100-pcie";
  if (begins(text, "A100 40GB PCIe")) return "a100-40gb-pcie";
  if (begins(text, "H100 80GB PCIe")) return "h100-pcie";
  if (begins(text, "L20")) return "l20";
  if (text == "L40S" || begins(text, "L40S 48GB")) return "l40s";
  if (text == "A100" || text == "A100 80GB") {
    assumptions.push_back("A100 of 80 GB, SXM: the version is not stated");
    return "a100-sxm";
  }
  throw Refusal{"GPU \"" + text + "\" is not one that is modelled"};
}

PublishedMetric metric_of(const PublishedRow& row, std::vector<std::string>& assumptions) {
  static constexpr std::array<std::string_view, 5> kSteps{"decode latency per token", "decode latency per step",
                                                          "decode step", "TPOT", "decode latency per token (RULER)"};
  if (row.unit == "ms" && std::ranges::find(kSteps, row.metric) != kSteps.end())
    return PublishedMetric::step_latency_ms;
  if (row.unit == "tok/s" && (row.metric == "throughput" || begins(row.metric, "single-request speed"))) {
    return PublishedMetric::tokens_per_s;
  }
  static constexpr std::array<std::string_view, 2> kLayer{"attention kernel, one layer", "attention, one layer"};
  if (row.unit == "us" &&
      (begins(row.metric, "self-attention time, one layer") || std::ranges::find(kLayer, row.metric) != kLayer.end())) {
    assumptions.push_back("the launches of selection, attention and merge of one layer, without gaps");
    return PublishedMetric::layer_attention_us;
  }
  throw Refusal{"metric \"" + row.metric + "\" (" + row.unit + ") is no latency or rate of a decode step"};
}

PolicyParams budget_of(const PublishedRow& row, std::string_view policy) {
  PolicyParams params;
  if (policy == "full") return params;
  if (policy == "magicpig") {
    const LshSetting& setting = find(kLshSettings, row.budget, "hash setting");
    params.budget = setting.share;
    params.options = {{"lsh_bits", setting.bits}, {"lsh_tables", setting.tables}};
    return params;
  }
  const std::string first = row.budget.substr(0, row.budget.find(' '));
  const bool only_icecaches = begins(row.budget, "256 (IceCache)");
  const auto tokens = tokens_of(first);
  const std::string rest = first.size() < row.budget.size() ? row.budget.substr(first.size() + 1) : "";
  if (!tokens || (only_icecaches && policy != "icecache") ||
      (!rest.empty() && rest != "(paper default)" && !only_icecaches)) {
    throw Refusal{"the budget \"" + row.budget + "\" is not a number of tokens"};
  }
  params.budget_tokens = *tokens;
  return params;
}

PublishedCase mapped(const PublishedRow& row) {
  PublishedCase result;
  std::vector<std::string>& assumptions = result.assumptions;
  result.metric = metric_of(row, assumptions);
  const PolicyName& policy = find(kPolicies, row.policy, "policy");
  const ModelName& model = find(kModels, row.model, "model");
  result.gpu = gpu_of(row.gpu, assumptions);
  const auto context = tokens_of(row.context);
  if (!context) throw Refusal{"the context \"" + row.context + "\" is not one number of tokens"};
  const auto batch = tokens_of(row.batch);
  if (!batch) throw Refusal{"the batch \"" + row.batch + "\" is not a number"};
  result.value = number_of(row.value);

  DecodeConfig& config = result.config;
  config.llm = find_llm_spec(model.llm);
  if (config.llm.max_position < *context) {
    assumptions.push_back("shape of " + config.llm.name + " with its position range extended");
    config.llm.max_position = *context;
  }
  if (model.published == "Llama-2-7B AWQ W4") {
    config.llm.weight_dtype = DType::int4;
    assumptions.push_back("all weights of 4 bits, without their scales");
  }
  PolicyParams params = budget_of(row, policy.policy);
  if (row.policy == "IceCache(r)") params.options = {{"search_every_layers", 3}};
  config.policy = make_policy(policy.policy, params);
  config.context = *context;
  config.batch = *batch;
  config.page_size = policy.page_size;
  config.dense_layers = policy.dense_layers;
  config.kv_dtype = DType::f16;
  if (policy.published == "INT4 KV (QServe), dense") {
    config.kv_dtype = DType::int4;
    config.llm.weight_dtype = DType::int4;
    if (begins(row.budget, "page ")) config.page_size = static_cast<int>(tokens_of(row.budget.substr(5)).value_or(64));
    assumptions.push_back("all weights of 4 bits, without their scales; activations of 16 bits");
  }
  if (policy.policy == "lserve") {
    config.kv_dtype = DType::int4;
    config.llm.weight_dtype = DType::int4;
    assumptions.push_back("4-bit weights and KV cache, as the paper's W4A8KV4");
  }
  if (config.policy->expected_recalls(config.num_pages(), config.page_size) > 0) {
    assumptions.push_back("pages recalled from the host at the policy's modelled rate, not from a trace");
  }
  config.sm_count = find_gpu_spec(result.gpu).sm_count;
  validate(config);
  return result;
}

}  // namespace

std::vector<PublishedRow> read_published_rows(const std::filesystem::path& file) {
  static constexpr std::array<std::string PublishedRow::*, 12> kMembers{
      &PublishedRow::row,     &PublishedRow::policy, &PublishedRow::model,    &PublishedRow::gpu,
      &PublishedRow::context, &PublishedRow::batch,  &PublishedRow::budget,   &PublishedRow::metric,
      &PublishedRow::value,   &PublishedRow::unit,   &PublishedRow::evidence, &PublishedRow::source};
  constexpr std::string_view kHeader = "row,policy,model,gpu,context,batch,budget,metric,value,unit,evidence,source";
  std::ifstream stream(file);
  std::string line;
  if (!stream || !std::getline(stream, line)) throw InputError(file.string(), "", "nothing to read", "a table");
  if (line.ends_with('\r')) line.pop_back();
  if (line != kHeader) throw InputError(file.string(), "header", line, std::string(kHeader));
  std::vector<PublishedRow> rows;
  for (std::int64_t number = 2; std::getline(stream, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    const boost::tokenizer cells(line, boost::escaped_list_separator<char>("", ",", "\""));
    PublishedRow row;
    std::size_t column = 0;
    for (const std::string& cell : cells) {
      if (column < kMembers.size()) row.*kMembers[column] = cell;
      ++column;
    }
    if (column != kMembers.size()) {
      throw InputError(file.string(), "line " + std::to_string(number), std::to_string(column) + " cells",
                       std::to_string(kMembers.size()));
    }
    rows.push_back(std::move(row));
  }
  return rows;
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
