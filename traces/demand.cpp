#include "traces/demand.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "model/error.h"
#include "traces/parallel.h"
#include "traces/replay.h"
#include "traces/trace_reader.h"

namespace retrosim {
namespace {

// Sequences of a batch are spread over at most this many times the demanded steps, so that a long trace is not decoded
// whole.
constexpr std::int64_t kSpreadPerStep = 8;

/// Which recorded steps stand for the demanded ones.
struct StepPlan {
  std::int64_t first = 0;   // first recorded step whose demand is used
  std::int64_t count = 0;   // distinct recorded steps used at most: [first, first + count)
  std::int64_t starts = 0;  // sequences start at [first, first + starts)
  std::int64_t base = 0;    // where sequence 0 starts, from `first`
  bool cyclic = false;      // fewer recorded steps than demanded ones

  /// Recorded step, counted from `first`, of one sequence of the batch at one demanded step.
  std::int64_t step(std::int64_t sequence, std::int64_t batch, std::int64_t demanded) const {
    const std::int64_t start = (base + sequence * starts / batch) % starts;
    return cyclic ? (start + demanded) % count : start + demanded;
  }
};

StepPlan plan_steps(const TraceReader& trace, const DecodeConfig& config, std::int64_t num_steps) {
  const std::int64_t warm_up = config.window - 1;
  const std::int64_t usable = trace.num_steps() - warm_up;
  if (usable < 1) {
    throw InputError(trace.origin(), "", std::to_string(trace.num_steps()) + " whole steps",
                     "more than " + std::to_string(warm_up) + " for a window of " + std::to_string(config.window));
  }
  StepPlan plan;
  if (usable < num_steps) {
    plan = {.first = warm_up, .count = usable, .starts = usable, .base = 0, .cyclic = true};
    return plan;
  }
  // The start whose context is the target's, else the nearest.
  const std::int64_t last_start = trace.num_steps() - num_steps;
  const std::int64_t same_context = config.context - 1 - trace.header().first_position;
  std::int64_t base = std::clamp(same_context, warm_up, last_start);
  if (base != same_context) {
    // Any start near will do: warm up from a chunk's first step, so that no chunk is decoded for its last steps.
    base = trace.chunk(trace.chunk_of_step(base - warm_up)).first_step + warm_up;
  }
  plan.starts = config.batch == 1 ? 1 : std::min(last_start - warm_up + 1, kSpreadPerStep * num_steps);
  plan.first = std::clamp(base - plan.starts / 2, warm_up, last_start - plan.starts + 1);
  plan.count = plan.starts - 1 + num_steps;
  plan.base = base - plan.first;
  return plan;
}

/// What one KV head loaded at one recorded step.
struct HeadDemand {
  std::int64_t pages = 0;
  std::int64_t tokens = 0;
  std::int64_t unseen_visits = 0;
  std::int64_t unseen_union = 0;
  std::int64_t recalled = 0;
};

/// One recorded layer over the planned steps.
struct SlotDemand {
  std::vector<HeadDemand> heads;  // [planned steps][recorded KV heads]
  double recall_sum = 0;
  double retro_recall_sum = 0;
  std::int64_t queries = 0;
};

SlotDemand replay_slot(const TraceReader& trace, int slot, const Policy& policy, int window, const StepPlan& plan) {
  const int heads = trace.header().num_kv_heads;
  SlotDemand demand;
  demand.heads.resize(static_cast<std::size_t>(plan.count * heads));
  std::vector<HeadReplay> replays(static_cast<std::size_t>(heads),
                                  HeadReplay(policy, trace.header().page_size, window, true));
  const std::int64_t begin = plan.first - (window - 1);
  const std::int64_t end = plan.first + plan.count;
  LayerColumns scratch;
  for (std::int64_t chunk = trace.chunk_of_step(begin); chunk < trace.num_chunks(); ++chunk) {
    if (trace.chunk(chunk).first_step >= end) break;
    const LayerColumns& columns = trace.layer(chunk, slot, scratch);
    for (int head = 0; head < heads; ++head) {
      for (std::int64_t s = 0; s < columns.num_steps(); ++s) {
        const std::int64_t step = columns.first_step() + s;
        if (step < begin || step >= end) continue;
        const HeadStep& replayed = replays[static_cast<std::size_t>(head)].advance(columns.at(s, head));
        if (!replayed.retro_recall.empty()) {
          demand.recall_sum += replayed.retro_recall.front();
          demand.retro_recall_sum += replayed.retro_recall.back();
          ++demand.queries;
        }
        if (step < plan.first) continue;
        HeadDemand& counts = demand.heads[static_cast<std::size_t>((step - plan.first) * heads + head)];
        counts.pages = replayed.pages_loaded;
        counts.tokens = replayed.tokens_loaded;
        for (const std::int64_t unseen : replayed.unseen) counts.unseen_visits += unseen;
        counts.unseen_union = window > 1 ? replayed.unseen[1] : 0;
        counts.recalled = replayed.pages_recalled;
      }
    }
  }
  return demand;
}

/// Recorded layer that stands for each sparse layer of the target; -1 for dense layers.
std::vector<int> slots_of_layers(const TraceHeader& header, const DecodeConfig& config) {
  // Depth among the sparse layers, in (0, 1): dense first layers behave differently and stand for no sparse one.
  auto depth = [&](int layer, int layers) {
    const int sparse = std::max(layers - config.dense_layers, 1);
    return (layer - config.dense_layers + 0.5) / sparse;
  };
  std::vector<int> slots(static_cast<std::size_t>(config.llm.num_layers), -1);
  const bool any_sparse = header.recorded_layers.back() >= config.dense_layers;
  for (int layer = 0; layer < config.llm.num_layers; ++layer) {
    if (!config.is_sparse(layer)) continue;
    double nearest = HUGE_VAL;
    for (std::size_t slot = 0; slot < header.recorded_layers.size(); ++slot) {
      const int recorded = header.recorded_layers[slot];
      if (any_sparse && recorded < config.dense_layers) continue;
      const double distance = std::abs(depth(recorded, header.num_layers) - depth(layer, config.llm.num_layers));
      if (distance < nearest - 1e-12) {
        nearest = distance;
        slots[static_cast<std::size_t>(layer)] = static_cast<int>(slot);
      }
    }
  }
  return slots;
}

/// Rounds a series of numbers to integers whose running total strays from theirs by at most a half, unless the limits
/// forbid it.
class RunningRound {
 public:
  std::int64_t operator()(double value, std::int64_t min, std::int64_t max) {
    owed_ += value;
    const auto rounded = std::clamp(static_cast<std::int64_t>(std::floor(owed_ + 0.5)), min, max);
    owed_ -= static_cast<double>(rounded);
    return rounded;
  }

 private:
  double owed_ = 0;
};

/// Counts per loaded page of one recorded layer and step, summed over the target's KV heads.
struct Shares {
  double visits = 0;
  double unseen_union = 0;
  double recalled = 0;
};

struct LayerRounding {
  RunningRound recalled;
  RunningRound visits;
  RunningRound unseen_union;
};

/// The policy at the same relative budget in a context of another size, `scale` times the target's; of its own options
/// those that are parts of the context scale with it.
std::shared_ptr<const Policy> relative_policy(const DecodeConfig& config, double scale) {
  PolicyParams params = config.policy->params();
  bool scaled = false;
  for (const PolicyOption& option : config.policy->options()) {
    if (!option.scales_with_context) continue;
    params.options.insert_or_assign(std::string(option.name), std::clamp(option.value * scale, option.min, option.max));
    scaled = true;
  }
  if (params.budget_tokens == 0) return scaled ? make_policy(config.policy->name(), params) : config.policy;
  const std::int64_t pages = config.num_pages();
  params.budget =
      static_cast<double>(config.policy->pages_selected(pages, config.page_size)) / static_cast<double>(pages);
  params.budget_tokens = 0;
  return make_policy(config.policy->name(), params);
}

TraceMapping describe(const TraceReader& trace, const DecodeConfig& config, const StepPlan& plan, bool exact,
                      std::int64_t num_steps) {
  const TraceHeader& header = trace.header();
  auto number = [](std::int64_t value) { return std::to_string(value); };
  TraceMapping mapping;
  mapping.exact = exact;
  mapping.synthetic = header.synthetic;
  const bool same_layers = header.num_layers == config.llm.num_layers &&
                           static_cast<int>(header.recorded_layers.size()) == header.num_layers;
  mapping.layers = same_layers
                       ? "each sparse layer is the recorded layer of the same index"
                       : "each sparse layer is the recorded layer nearest in relative depth among sparse layers (" +
                             number(static_cast<std::int64_t>(header.recorded_layers.size())) + " recorded layers of " +
                             number(header.num_layers) + ", target " + number(config.llm.num_layers) + ")";
  mapping.heads = header.num_kv_heads == config.llm.num_kv_heads
                      ? "each KV head is the recorded KV head of the same index"
                      : "KV head h is recorded KV head h mod " + number(header.num_kv_heads);
  const std::int64_t first_context = header.first_position + plan.first + plan.base + 1;
  const std::string recorded_contexts =
      number(first_context) + " to " +
      number(header.first_position + plan.first +
             plan.step(0, config.batch, std::min(num_steps, plan.count - plan.base) - 1) + 1);
  mapping.context = exact
                        ? "recorded steps of contexts " + recorded_contexts + " tokens, one by one"
                        : "recorded contexts of " + recorded_contexts + " tokens stand for " + number(config.context) +
                              " at the same relative budget; unseen pages scale with the pages loaded";
  mapping.page_size = header.page_size == config.page_size
                          ? "pages of " + number(config.page_size) + " tokens, as recorded"
                          : "recorded pages of " + number(header.page_size) + " tokens stand for pages of " +
                                number(config.page_size) + " at the same relative budget";
  mapping.batch = config.batch == 1 ? "one sequence"
                                    : "sequence i starts " + number(plan.starts) + " * i / " + number(config.batch) +
                                          " recorded steps after sequence 0, modulo " + number(plan.starts);
  if (plan.cyclic) {
    mapping.batch += "; the " + number(plan.count) + " recorded steps after the window's warm-up repeat cyclically";
  }
  return mapping;
}

}  // namespace

TraceDemand demand_from_trace(const std::string& rtrace_file, const DecodeConfig& config, int num_steps) {
  return demand_from_trace(TraceReader(rtrace_file), config, num_steps);
}

TraceDemand demand_from_trace(const TraceReader& trace, const DecodeConfig& config, int num_steps) {
  validate(config);
  if (num_steps < 1) throw InputError("", "--steps", std::to_string(num_steps), "at least 1 step");
  const TraceHeader& header = trace.header();
  const StepPlan plan = plan_steps(trace, config, num_steps);
  const std::vector<int> slots = slots_of_layers(header, config);

  bool exact = config.batch == 1 && !plan.cyclic && header.num_layers == config.llm.num_layers &&
               header.num_kv_heads == config.llm.num_kv_heads && header.page_size == config.page_size &&
               header.first_position + plan.first + 1 == config.context;
  std::vector<int> layers_of_slot(header.recorded_layers.size(), 0);
  for (std::size_t layer = 0; layer < slots.size(); ++layer) {
    if (slots[layer] < 0) continue;
    const auto slot = static_cast<std::size_t>(slots[layer]);
    ++layers_of_slot[slot];
    exact = exact && header.recorded_layers[slot] == static_cast<int>(layer);
  }

  const std::shared_ptr<const Policy> policy =
      exact ? config.policy
            : relative_policy(config, static_cast<double>(header.first_position + plan.first + 1) /
                                          static_cast<double>(config.context));
  std::vector<SlotDemand> recorded(header.recorded_layers.size());
  const int threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 8U));
  for_each_parallel(static_cast<int>(recorded.size()), threads, [&](int slot) {
    const auto index = static_cast<std::size_t>(slot);
    if (layers_of_slot[index] > 0) recorded[index] = replay_slot(trace, slot, *policy, config.window, plan);
  });

  TraceDemand result;
  result.truncated = trace.truncated();
  result.mapping = describe(trace, config, plan, exact, num_steps);
  double weight = 0;
  for (std::size_t slot = 0; slot < recorded.size(); ++slot) {
    if (layers_of_slot[slot] == 0) continue;
    const auto queries = static_cast<double>(recorded[slot].queries);
    result.mass_recall_mean += layers_of_slot[slot] * recorded[slot].recall_sum / queries;
    result.mass_recall_retro_mean += layers_of_slot[slot] * recorded[slot].retro_recall_sum / queries;
    weight += layers_of_slot[slot];
  }
  result.mass_recall_mean = weight > 0 ? result.mass_recall_mean / weight : 1.0;
  result.mass_recall_retro_mean = weight > 0 ? result.mass_recall_retro_mean / weight : 1.0;

  // [slots][planned steps]
  const auto heads = static_cast<std::size_t>(header.num_kv_heads);
  const auto planned = static_cast<std::size_t>(plan.count);
  std::vector<std::vector<Shares>> shares(recorded.size());
  for (std::size_t slot = 0; slot < recorded.size() && !exact; ++slot) {
    if (layers_of_slot[slot] == 0) continue;
    shares[slot].resize(planned);
    for (std::size_t step = 0; step < planned; ++step) {
      for (int head = 0; head < config.llm.num_kv_heads; ++head) {
        const HeadDemand& counts = recorded[slot].heads[step * heads + static_cast<std::size_t>(head) % heads];
        const auto pages = static_cast<double>(counts.pages);
        shares[slot][step].visits += static_cast<double>(counts.unseen_visits) / pages;
        shares[slot][step].unseen_union += static_cast<double>(counts.unseen_union) / pages;
        shares[slot][step].recalled += static_cast<double>(counts.recalled) / pages;
      }
    }
  }

  const StepDemand without_unseen = demand_without_unseen(config);
  const auto selected = static_cast<double>(config.policy->pages_selected(config.num_pages(), config.page_size));
  std::vector<LayerRounding> rounding(slots.size());
  for (std::int64_t demanded = 0; demanded < num_steps; ++demanded) {
    StepDemand step = without_unseen;
    if (exact) step.context = config.context + demanded;
    step.position = header.first_position + plan.first + plan.step(0, config.batch, demanded);
    for (std::size_t layer = 0; layer < slots.size(); ++layer) {
      if (slots[layer] < 0) continue;
      const auto slot = static_cast<std::size_t>(slots[layer]);
      LayerDemand& counts = step.layers[layer];
      if (exact) {
        counts = {};
        for (std::size_t head = 0; head < heads; ++head) {
          const auto at = static_cast<std::size_t>(plan.step(0, 1, demanded)) * heads + head;
          const HeadDemand& own = recorded[slot].heads[at];
          counts.pages_loaded += own.pages;
          counts.tokens_loaded += own.tokens;
          counts.unseen_visits += own.unseen_visits;
          counts.unseen_union += own.unseen_union;
          counts.recalled_pages += own.recalled;
        }
        continue;
      }
      double visits = 0;
      double unseen_union = 0;
      double recalled = 0;
      for (std::int64_t sequence = 0; sequence < config.batch; ++sequence) {
        const auto& share = shares[slot][static_cast<std::size_t>(plan.step(sequence, config.batch, demanded))];
        visits += share.visits * selected;
        unseen_union += share.unseen_union * selected;
        recalled += share.recalled * selected;
      }
      counts.recalled_pages = rounding[layer].recalled(recalled, 0, counts.pages_loaded);
      counts.unseen_union = rounding[layer].unseen_union(unseen_union, 0, counts.pages_loaded);
      counts.unseen_visits =
          rounding[layer].visits(visits, counts.unseen_union, counts.unseen_union * (config.window - 1));
    }
    result.steps.push_back(std::move(step));
  }
  return result;
}

}  // namespace retrosim
