#include "reports/plan_grid.h"

#include <set>
#include <tuple>

#include "model/error.h"
#include "reports/format.h"
#include "reports/simulation_run.h"

namespace retrosim {
namespace {

constexpr std::size_t kMaxCandidates = 100'000;

template <typename T>
std::vector<T> or_one(const std::vector<T>& list, T value) {
  return list.empty() ? std::vector<T>{value} : list;
}

/// One of the two, or neither: the default.
struct Budget {
  std::optional<double> fraction;
  std::optional<std::int64_t> tokens;

  std::string text() const { return tokens ? std::to_string(*tokens) + " tokens" : fixed(fraction.value_or(0.15), 3); }
};

class PlanGrid {
 public:
  PlanGrid(const PlanRequest& request, ServingPlan& plan) : request_(request), plan_(plan) {
    const SimulationRequest& one = request.base.simulation;
    for (const double fraction : request.budgets) budgets_.push_back({fraction, std::nullopt});
    for (const std::int64_t tokens : request.budget_tokens) budgets_.push_back({std::nullopt, tokens});
    if (budgets_.empty()) budgets_.push_back({one.budget, one.budget_tokens});
  }

  void fill() {
    for (const std::string& name : or_one(request_.gpus, request_.base.simulation.gpu)) add_gpu(name);
    if (plan_.candidates.empty()) {
      throw InputError("", "plan", "no combination that exists", plan_.skipped.empty() ? "" : plan_.skipped.front());
    }
  }

 private:
  /// Of the base request, what holds for full attention on one GPU: the rest is each choice's own.
  static SimulationRequest dense_only(SimulationRequest simulation) {
    simulation.policy = "full";
    simulation.policy_variant.clear();
    simulation.policy_options.clear();
    simulation.window.reset();
    simulation.budget.reset();
    simulation.budget_tokens.reset();
    simulation.dense_layers.reset();
    simulation.trace.clear();
    simulation.output_cache_dtype = "auto";
    simulation.tensor_parallel_size = 1;
    simulation.kv_cache_dtype = "auto";
    return simulation;
  }

  void add_gpu(const std::string& name) {
    ServingRequest base = request_.base;
    base.simulation = dense_only(base.simulation);
    base.simulation.gpu = name;
    resolved_ = resolve(base);
    const GpuProfile& gpu = resolved_.simulation.gpu;
    const auto price = plan_.prices.find(gpu.spec.name);
    if (price == plan_.prices.end()) {
      throw InputError("", "--gpu-price", "no price for " + gpu.spec.name, gpu.spec.name + "=USD_PER_HOUR");
    }
    price_ = price->second.usd_per_hour;
    plan_.gpus.push_back(gpu);
    plan_.demand.workload = resolved_.workload;
    const SimulationRequest& one = request_.base.simulation;
    for (const int tp : or_one(request_.tensor_parallel_sizes, one.tensor_parallel_size)) {
      for (const std::string& dtype : or_one(request_.kv_cache_dtypes, one.kv_cache_dtype)) {
        for (const int seqs : or_one(request_.max_num_seqs, request_.base.max_num_seqs)) {
          for (const std::string& policy : or_one(request_.policies, one.policy)) add_policy(tp, dtype, seqs, policy);
        }
      }
    }
  }

  void add_policy(int tp, const std::string& dtype, int seqs, const std::string& policy) {
    SimulationRequest choice = request_.base.simulation;
    choice.gpu.clear();
    choice.policy = policy;
    choice.tensor_parallel_size = tp;
    choice.kv_cache_dtype = dtype;
    choice.context = resolved_.simulation.config.context;
    choice.batch = 1;
    if (policy == "full") {
      SimulationRequest dense = dense_only(choice);
      dense.tensor_parallel_size = tp;
      dense.kv_cache_dtype = dtype;
      return add(dense, seqs, "full");
    }
    const int fallback = choice.window.value_or(policy == "retro" ? 2 : 1);
    if (policy == "retro") choice.policy = "quest";
    for (const Budget& budget : budgets_) {
      choice.budget = budget.fraction;
      choice.budget_tokens = budget.tokens;
      for (const int window : or_one(request_.windows, fallback)) {
        choice.window = window;
        choice.output_cache_dtype = window > 1 ? request_.base.simulation.output_cache_dtype : "auto";
        add(choice, seqs, choice.policy + " " + budget.text() + " w" + std::to_string(window));
      }
    }
  }

  void add(SimulationRequest choice, int seqs, const std::string& text) {
    PlanCandidate candidate{.name = {}, .config = resolved_.config, .gpu = plan_.gpus.size() - 1};
    ServingConfig& config = candidate.config;
    config.max_num_seqs = seqs;
    const GpuProfile& gpu = plan_.gpus.back();
    const std::string name = gpu.spec.name + " tp" + std::to_string(choice.tensor_parallel_size) + " " + text;
    try {
      const bool by_score = make_policy(choice.policy, PolicyParams{})->selects_by_score();
      if (!by_score) choice.trace.clear();
      config.decode = resolve_config(choice, resolved_.config.decode.llm, gpu);
      validate(config);
    } catch (const InputError& error) {
      plan_.skipped.push_back(name + ": " + error.what());
      return;
    }
    candidate.price_per_gpu_hour = price_;
    candidate.name = name + " kv " + std::string(name_of(config.decode.kv_dtype)) + " seqs " + std::to_string(seqs);
    if (window_is_pure_cost(config.decode)) {
      plan_.skipped.push_back(candidate.name + ": skipped pages never come back, a window is pure cost");
      return;
    }
    // Twice the same choice (retro and quest with one window) is one.
    if (!names_.insert(candidate.name).second) return;
    judge_fidelity(candidate, text);
    if (plan_.candidates.size() == kMaxCandidates) {
      throw InputError("", "plan", "more than 100000 combinations", "fewer values");
    }
    plan_.candidates.push_back(std::move(candidate));
  }

  void judge_fidelity(PlanCandidate& candidate, const std::string& text) {
    DecodeConfig& decode = candidate.config.decode;
    if (decode.policy->name() == "full") return;
    if (!decode.policy->selects_by_score()) {
      candidate.fidelity = 0;
      candidate.fidelity_known = false;
      return;
    }
    auto [share, fresh] = shares_.try_emplace(text);
    if (fresh) {
      ResolvedSimulation simulation;
      simulation.config = decode;
      simulation.config.tensor_parallel_size = 1;
      simulation.steps = kReplaySteps;
      simulation.trace = request_.base.simulation.trace;
      simulation.uses_trace = true;
      if (!trace_) {
        trace_ = open_trace(simulation);
        trace_->keep_decoded(kKeptTraceBytes);
      }
      share->second = replayed_share_of(simulation, *trace_);
    }
    if (decode.window > 1) candidate.config.unseen = share->second.unseen;
    candidate.config.unseen.recalled.reset();  // at every context the policy's own expectation
    candidate.fidelity = share->second.mass_recall;
  }

  const PlanRequest& request_;
  ServingPlan& plan_;
  std::vector<Budget> budgets_;
  ResolvedServing resolved_;
  double price_ = 0;
  std::set<std::string> names_;
  std::unique_ptr<TraceReader> trace_;
  std::map<std::string, ReplayedShare> shares_;  // by policy, budget and window
};

}  // namespace

void fill_plan_grid(const PlanRequest& request, ServingPlan& plan) { PlanGrid(request, plan).fill(); }

}  // namespace retrosim
