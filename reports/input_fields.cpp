#include "reports/input_fields.h"

#include <cmath>
#include <optional>
#include <sstream>
#include <type_traits>
#include <vector>

#include "model/error.h"
#include "reports/policy_flags.h"
#include "sim/workload/presets.h"

namespace retrosim {
namespace {

using Value = nlohmann::json;
using Request = ServingRequest;
using enum InputScope;

constexpr double kMaxTokens = 1 << 24;
constexpr double kMaxBytes = 1e15;
constexpr double kMaxSeed = 9007199254740992.0;  // 2^53: whole numbers that every JSON reader keeps

[[noreturn]] void refuse(const Value& value, const std::string& expectation) {
  throw InputError("", "", value.dump(-1, ' ', true, Value::error_handler_t::replace).substr(0, 60), expectation);
}

template <typename T>
void assign(T& target, const Value& value, double low, double high) {
  const bool typed = std::is_floating_point_v<T> ? value.is_number() : value.is_number_integer();
  const double number = typed ? value.get<double>() : std::nan("");
  if (!(number >= low && number <= high)) {
    std::ostringstream expectation;
    expectation << (std::is_floating_point_v<T> ? "a number in [" : "a whole number in [") << low << ", " << high
                << "]";
    refuse(value, expectation.str());
  }
  target = value.get<T>();
}

template <typename T>
void assign(std::optional<T>& target, const Value& value, double low, double high) {
  if (value.is_null()) return target.reset();
  assign(target.emplace(), value, low, high);
}

template <typename T>
struct IsWhole : std::bool_constant<std::is_integral_v<T>> {};
template <typename T>
struct IsWhole<std::optional<T>> : std::bool_constant<std::is_integral_v<T>> {};

/// `member` gives the request's field by reference.
template <typename Member>
InputField number(std::string_view name, InputScope scope, Member member, double low, double high) {
  using T = std::remove_cvref_t<decltype(member(std::declval<Request&>()))>;
  return {name,
          scope,
          IsWhole<T>::value ? InputType::whole_number : InputType::number,
          [=](Request& request, const Value& value) { assign(member(request), value, low, high); },
          {}};
}

template <typename Member>
InputField text(std::string_view name, InputScope scope, Member member,
                std::function<void(const std::string&)> look_up = {}) {
  const auto set = [=](Request& request, const Value& value) {
    if (!value.is_string()) refuse(value, "a string");
    member(request) = value.get<std::string>();
  };
  return {name, scope, InputType::text, set, std::move(look_up)};
}

/// Lengths: a distribution's text, or a plain number.
template <typename Member>
InputField length(std::string_view name, InputScope scope, Member member) {
  const auto set = [=](Request& request, const Value& value) {
    if (!value.is_string() && !value.is_number_unsigned()) refuse(value, "a length distribution or a number of tokens");
    member(request) = value.is_string() ? value.get<std::string>() : value.dump();
  };
  return {name, scope, InputType::text, set, {}};
}

template <typename Member>
InputField flag(std::string_view name, InputScope scope, Member member) {
  const auto set = [=](Request& request, const Value& value) {
    if (!value.is_boolean()) refuse(value, "true or false");
    member(request) = value.get<bool>();
  };
  return {name, scope, InputType::flag, set, {}};
}

InputField policy_options() {
  const auto set = [](Request& request, const Value& value) {
    std::vector<std::string> options;
    if (!value.is_object()) refuse(value, "an object of NAME: NUMBER");
    for (const auto& [name, option] : value.items()) {
      if (!option.is_number()) refuse(value, "an object of NAME: NUMBER");
      options.push_back(name + "=" + option.dump());
    }
    request.simulation.policy_options = options;
  };
  return {"policy_options", both, InputType::object, set, {}};
}

const auto look_up_policy = [](const std::string& name) {
  if (name != "retro") make_policy(name, PolicyParams{});
};
const auto look_up_profile = [](const std::string& name) {
  if (!name.empty()) load_gpu_profile(name);
};
const auto look_up_dtype = [](const std::string& name) {
  if (name != "auto") parse_dtype(name, "");
};
const auto look_up_variant = [](const std::string& name) {
  if (!name.empty()) parse_policy_variant(name, "");
};

std::vector<InputField> simulation_fields() {
  return {
      text(
          "llm", both, [](Request & r) -> auto& { return r.simulation.llm; }, [](auto& name) { find_llm_spec(name); }),
      text(
          "gpu", both, [](Request & r) -> auto& { return r.simulation.gpu; },
          [](auto& name) { find_gpu_profile(name); }),
      text(
          "profile", both, [](Request & r) -> auto& { return r.simulation.profile; }, look_up_profile),
      text(
          "policy", both, [](Request & r) -> auto& { return r.simulation.policy; }, look_up_policy),
      text(
          "policy_variant", both, [](Request & r) -> auto& { return r.simulation.policy_variant; }, look_up_variant),
      policy_options(),
      number(
          "window", both, [](Request & r) -> auto& { return r.simulation.window; }, 1, kMaxWindow),
      number(
          "budget", both, [](Request & r) -> auto& { return r.simulation.budget; }, 1e-9, 1),
      number(
          "budget_tokens", both, [](Request & r) -> auto& { return r.simulation.budget_tokens; }, 1, kMaxTokens),
      number(
          "page_size", both, [](Request & r) -> auto& { return r.simulation.page_size; }, 1, 1024),
      number(
          "dense_layers", both, [](Request & r) -> auto& { return r.simulation.dense_layers; }, 0, 10000),
      text(
          "kv_cache_dtype", both, [](Request & r) -> auto& { return r.simulation.kv_cache_dtype; }, look_up_dtype),
      text(
          "output_cache_dtype", both, [](Request & r) -> auto& { return r.simulation.output_cache_dtype; },
          look_up_dtype),
      number(
          "tensor_parallel_size", both, [](Request & r) -> auto& { return r.simulation.tensor_parallel_size; }, 1, 64),
      text(
          "trace", both, [](Request & r) -> auto& { return r.simulation.trace; }),
      flag(
          "carry_older_rows", both,
          [](Request & r) -> auto& { return r.simulation.carry_older_rows_through_dense_layers; }),
      flag(
          "widen_summaries", both, [](Request & r) -> auto& { return r.simulation.widen_summaries; }),
      flag(
          "mask_unseen_rows", both, [](Request & r) -> auto& { return r.simulation.mask_unseen_rows; }),
      number(
          "context", simulate, [](Request & r) -> auto& { return r.simulation.context; }, 1, kMaxTokens),
      number(
          "batch", simulate, [](Request & r) -> auto& { return r.simulation.batch; }, 1, 65536),
      number(
          "steps", simulate, [](Request & r) -> auto& { return r.simulation.steps; }, 1, 1 << 20),
  };
}

std::vector<InputField> serving_fields() {
  return {
      number(
          "replicas", serve, [](Request & r) -> auto& { return r.replicas; }, 1, 4096),
      text(
          "routing", serve, [](Request & r) -> auto& { return r.routing; }, [](auto& name) { parse_routing(name); }),
      number(
          "max_num_seqs", serve, [](Request & r) -> auto& { return r.max_num_seqs; }, 1, 65536),
      number(
          "max_num_batched_tokens", serve, [](Request & r) -> auto& { return r.max_num_batched_tokens; }, 1, 1 << 20),
      number(
          "max_model_len", serve, [](Request & r) -> auto& { return r.max_model_len; }, 0, kMaxTokens),
      flag(
          "async_scheduling", serve, [](Request & r) -> auto& { return r.async_scheduling; }),
      flag(
          "cudagraph_padding", serve, [](Request & r) -> auto& { return r.cudagraph_padding; }),
      flag(
          "enable_prefix_caching", serve, [](Request & r) -> auto& { return r.enable_prefix_caching; }),
      length(
          "turns", serve, [](Request & r) -> auto& { return r.workload.turns; }),
      length(
          "think_time_ms", serve, [](Request & r) -> auto& { return r.workload.think_time_ms; }),
      number(
          "shared_prefix_len", serve, [](Request & r) -> auto& { return r.workload.shared_prefix_len; }, 0, kMaxTokens),
      flag(
          "admit_partial_prompts", serve, [](Request & r) -> auto& { return r.admit_partial_prompts; }),
      number(
          "gpu_memory_utilization", serve, [](Request & r) -> auto& { return r.gpu_memory_utilization; }, 1e-6, 1),
      number(
          "activation_bytes", serve, [](Request & r) -> auto& { return r.activation_bytes; }, 0, kMaxBytes),
      number(
          "runtime_bytes", serve, [](Request & r) -> auto& { return r.runtime_bytes; }, 0, kMaxBytes),
      number(
          "driver_reserved_bytes", serve, [](Request & r) -> auto& { return r.driver_reserved_bytes; }, 0, kMaxBytes),
      number(
          "num_gpu_blocks_override", serve, [](Request & r) -> auto& { return r.num_gpu_blocks_override; }, 1,
          kMaxBytes),
      number(
          "step_overhead_us", serve, [](Request & r) -> auto& { return r.step_overhead_us; }, 0, 1e7),
      flag(
          "exact_steps", serve, [](Request & r) -> auto& { return r.exact_steps; }),
      text(
          "workload", serve, [](Request & r) -> auto& { return r.workload.workload; }),
      length(
          "input_len", serve, [](Request & r) -> auto& { return r.workload.input_len; }),
      length(
          "output_len", serve, [](Request & r) -> auto& { return r.workload.output_len; }),
      number(
          "num_requests", serve, [](Request & r) -> auto& { return r.workload.num_requests; }, 1, 1e8),
      number(
          "request_rate", serve, [](Request & r) -> auto& { return r.workload.request_rate; }, 1e-6, 1e9),
      number(
          "arrival_cv", serve, [](Request & r) -> auto& { return r.workload.arrival_cv; }, 0.01, 100),
      text(
          "arrivals", serve, [](Request & r) -> auto& { return r.workload.arrivals; },
          [](auto& name) {
            if (!name.empty()) find_workload_preset(name, "arrivals");
          }),
      number(
          "max_concurrency", serve, [](Request & r) -> auto& { return r.workload.max_concurrency; }, 0, 1e6),
      number(
          "seed", serve, [](Request & r) -> auto& { return r.workload.seed; }, 0, kMaxSeed),
      number(
          "slo_ttft_ms", serve, [](Request & r) -> auto& { return r.slo_ttft_ms; }, 1e-6, 1e12),
      number(
          "slo_tpot_ms", serve, [](Request & r) -> auto& { return r.slo_tpot_ms; }, 1e-6, 1e12),
      number(
          "slo_e2e_ms", serve, [](Request & r) -> auto& { return r.slo_e2e_ms; }, 1e-6, 1e12),
  };
}

const std::vector<InputField>& all_fields() {
  static const std::vector<InputField> kFields = [] {
    std::vector<InputField> fields = simulation_fields();
    for (InputField& field : serving_fields()) fields.push_back(std::move(field));
    return fields;
  }();
  return kFields;
}

bool belongs(const InputField& field, bool serving) { return field.scope == both || (field.scope == serve) == serving; }

}  // namespace

const InputField* find_input_field(std::string_view name, bool serving) {
  for (const InputField& field : all_fields()) {
    if (field.name == name && belongs(field, serving)) return &field;
  }
  return nullptr;
}

void set_input(const InputField& field, const nlohmann::json& value, std::string_view file, std::string_view path,
               ServingRequest& request) {
  try {
    field.set(request, value);
    if (field.look_up) field.look_up(value.get<std::string>());
  } catch (const InputError& error) {
    throw InputError(std::string(file) + ": " + std::string(path) + ": " + error.what());
  }
}

std::string input_field_names(bool serving) {
  std::string names;
  for (const InputField& field : all_fields()) {
    if (belongs(field, serving)) names.append(names.empty() ? "" : ", ").append(field.name);
  }
  return names;
}

}  // namespace retrosim
