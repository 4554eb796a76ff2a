#include "traces/synthesis/synthesize.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "model/error.h"
#include "traces/parallel.h"
#include "traces/synthesis/synthetic_list.h"
#include "traces/trace_writer.h"

namespace retrosim {
namespace {

std::int64_t fitted_steps(const TraceReader& trace, const SynthesisOptions& options) {
  const std::int64_t available = trace.num_steps() - options.fit_first;
  const std::int64_t steps = options.fit_steps > 0 ? options.fit_steps : std::min(available, kMaxFitSteps);
  const std::int64_t least = 3 * trace.header().page_size;
  if (options.fit_first < 0 || steps > available || steps < least) {
    throw InputError(trace.origin(), "steps", std::to_string(std::max<std::int64_t>(available, 0)),
                     "at least " + std::to_string(std::max(steps, least)) + " to fit a model to");
  }
  const std::int64_t pages = trace.header().num_pages(trace.header().first_position + options.fit_first);
  if (pages < 2 * kRecentPages) {
    throw InputError(trace.origin(), "pages", std::to_string(pages),
                     "at least " + std::to_string(2 * kRecentPages) + " at the first step that is fitted to");
  }
  return steps;
}

void check_sources(const std::vector<const TraceReader*>& sources) {
  if (sources.empty()) throw InputError("", "--from", "none", "at least one recorded trace");
  const TraceHeader& first = sources.front()->header();
  for (const TraceReader* source : sources) {
    const TraceHeader& header = source->header();
    const auto same = [&](const char* field, const std::string& value, const std::string& expected) {
      if (value != expected) throw InputError(source->origin(), field, value, "that of the first trace, " + expected);
    };
    same("page_size_tokens", std::to_string(header.page_size), std::to_string(first.page_size));
    same("scoring_rule", header.scoring_rule, first.scoring_rule);
    same("group_reduction", header.group_reduction, first.group_reduction);
    if (!header.synthetic.empty()) {
      throw InputError(source->origin(), "synthetic", header.synthetic, "a recorded trace");
    }
  }
}

TraceHeader header_of(const std::vector<const TraceReader*>& sources, const SynthesisOptions& options,
                      std::int64_t steps) {
  TraceHeader header = sources.front()->header();
  const auto between = [](const char* flag, std::int64_t value, std::int64_t low, std::int64_t high) {
    if (value < low || value > high) {
      throw InputError("", flag, std::to_string(value), std::to_string(low) + " to " + std::to_string(high));
    }
  };
  header.tool_version = options.tool_version;
  header.config_hash = header.checkpoint_hash = header.prompt_hash = "none: synthetic";
  header.tokens_hash = "none: synthetic, seed " + std::to_string(options.seed);
  header.synthetic = options.label;
  header.mass_scale = std::string(kMassScaleName);
  header.workload = "synthetic, after";
  for (const TraceReader* source : sources) {
    header.workload += (source == sources.front() ? " " : " and ") + source->header().workload;
  }
  if (options.num_layers != 0) {
    between("--layers", options.num_layers, 1, kMaxTraceLayers);
    header.num_layers = options.num_layers;
    header.recorded_layers.clear();
    for (int layer = 0; layer < options.num_layers; ++layer) header.recorded_layers.push_back(layer);
  }
  if (options.num_kv_heads != 0) {
    const int group = header.num_q_heads / header.num_kv_heads;
    between("--kv-heads", options.num_kv_heads, 1, kMaxTraceHeads / group);
    header.num_kv_heads = options.num_kv_heads;
    header.num_q_heads = group * options.num_kv_heads;
  }
  if (options.context != 0) {
    between("--context", options.context, 2 * kRecentPages * header.page_size, kMaxTracePosition + 1);
    header.first_position = options.context - 1;
  } else {
    header.first_position += options.fit_first;
  }
  between("--steps", steps, 1, kMaxTracePosition + 1 - header.first_position);
  header.prompt_tokens = header.first_position;
  header.num_tokens = header.first_position + steps;
  return header;
}

/// Recorded layer nearest in relative depth.
std::size_t nearest_slot(const TraceHeader& recorded, int layer, int num_layers) {
  const double depth = (layer + 0.5) / num_layers;
  std::size_t nearest = 0;
  double least = 2;
  for (std::size_t slot = 0; slot < recorded.recorded_layers.size(); ++slot) {
    const double distance = std::abs((recorded.recorded_layers[slot] + 0.5) / recorded.num_layers - depth);
    if (distance < least - 1e-12) {
      least = distance;
      nearest = slot;
    }
  }
  return nearest;
}

/// What the lists of one file share.
struct FileModels {
  std::map<std::size_t, std::vector<RankModel>> by_slot;  // [heads]
  PageLayout layout;
  std::vector<std::vector<StepPath>> paths;  // [passes through its heads][copies]
};

}  // namespace

SynthesisResult synthesize(const std::vector<const TraceReader*>& sources, const SynthesisOptions& options,
                           const std::filesystem::path& out) {
  check_sources(sources);
  SynthesisResult result;
  result.fitted_steps = fitted_steps(*sources.front(), options);
  result.steps = options.steps != 0 ? options.steps : result.fitted_steps;
  const TraceHeader header = result.header = header_of(sources, options, result.steps);
  const std::int64_t last_pages = header.num_pages(header.first_position + result.steps - 1);

  std::vector<FileModels> files(sources.size());
  double share = 0;
  std::int64_t models = 0;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const TraceHeader& recorded = sources[f]->header();
    const std::int64_t steps = fitted_steps(*sources[f], options);
    for (const int layer : header.recorded_layers) {
      files[f].by_slot.try_emplace(nearest_slot(recorded, layer, header.num_layers));
    }
    std::vector<std::pair<const std::size_t, std::vector<RankModel>>*> slots;
    for (auto& slot : files[f].by_slot) slots.push_back(&slot);
    for_each_parallel(static_cast<int>(slots.size()), options.threads, [&](int i) {
      auto& [slot, of_slot] = *slots[static_cast<std::size_t>(i)];
      for (const RecordedList& list :
           recorded_lists_of(*sources[f], static_cast<int>(slot), options.fit_first, steps)) {
        of_slot.emplace_back(list);
      }
    });
    for (const auto& [slot, of_slot] : files[f].by_slot) {
      for (const RankModel& model : of_slot) {
        share += model.factor_share();
        ++models;
      }
    }
    const std::int64_t bulk = recorded.num_pages(recorded.first_position + options.fit_first) - kRecentPages;
    const std::uint64_t seed = options.seed * 1'000'003 + f * 10'007;
    files[f].layout = make_page_layout(bulk, header.num_pages(header.first_position), last_pages, seed);
    const auto ways = files.size() * static_cast<std::size_t>(recorded.num_kv_heads);
    const std::size_t passes = (static_cast<std::size_t>(header.num_kv_heads) + ways - 1) / ways;
    const StepPathShape shape{.recorded_steps = steps,
                              .recorded_position = recorded.first_position + options.fit_first,
                              .first_position = header.first_position,
                              .steps = result.steps,
                              .page_size = header.page_size};
    files[f].paths.resize(passes);
    for (std::size_t pass = 0; pass < passes; ++pass) {
      for (std::int64_t copy = 0; copy < files[f].layout.copies; ++copy) {
        files[f].paths[pass].push_back(
            make_step_path(shape, seed + 1 + pass * 4099 + static_cast<std::uint64_t>(copy)));
      }
    }
  }
  result.factor_share_mean = share / static_cast<double>(models);

  std::vector<SyntheticList> lists;
  for (const int layer : header.recorded_layers) {
    for (int head = 0; head < header.num_kv_heads; ++head) {
      const std::size_t f = static_cast<std::size_t>(head) % files.size();
      const auto own = static_cast<std::size_t>(head) / files.size();
      const std::vector<RankModel>& of_slot =
          files[f].by_slot.at(nearest_slot(sources[f]->header(), layer, header.num_layers));
      lists.emplace_back(of_slot[own % of_slot.size()], files[f].layout, files[f].paths[own / of_slot.size()]);
    }
  }
  TraceWriter writer(out, header);
  StepRecord record;
  record.heads.resize(lists.size());
  for (std::int64_t step = 0; step < result.steps; ++step) {
    record.position = header.first_position + step;
    record.num_pages = header.num_pages(record.position);
    for_each_parallel(static_cast<int>(lists.size()), options.threads, [&](int i) {
      SyntheticList& list = lists[static_cast<std::size_t>(i)];
      list.step(step, record.num_pages);
      record.heads[static_cast<std::size_t>(i)] = {.pages = list.pages(), .mass = list.mass(), .rest = 0};
    });
    writer.add_step(record);
    if (options.progress && (step + 1) % 128 == 0) options.progress(step + 1, result.steps);
  }
  writer.close();
  return result;
}

}  // namespace retrosim
