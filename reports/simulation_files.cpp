#include "reports/simulation_files.h"

#include "reports/graphviz.h"
#include "reports/json_text.h"
#include "reports/output_file.h"
#include "reports/timeline.h"

namespace retrosim {

void SimulationFiles::require_writable() const {
  if (!timeline.empty()) retrosim::require_writable(timeline, "--timeline");
  if (!graph.empty()) retrosim::require_writable(graph, "--graph");
}

void SimulationFiles::write(const SimulationRun& run) const {
  const DecodeConfig& config = run.resolved.config;
  if (!timeline.empty()) {
    std::vector<TimelineTrack> tracks = {{.name = variant_name(config), .ops = &run.result.ops}};
    const DecodeConfig single = without_window(config);
    const DecodeConfig full = full_attention_of(config);
    if (config.window > 1) tracks.push_back({.name = variant_name(single), .ops = &run.without_retro.ops});
    if (config.policy->name() != full.policy->name()) tracks.push_back({.name = "full", .ops = &run.full.ops});
    write_output_file(timeline, json_text(timeline_json(tracks), -1));
  }
  if (!graph.empty()) {
    const StepGraph step = build_decode_step(config, run.demand.front());
    write_output_file(graph, graphviz_text(step, graph_all_layers ? GraphLayers::all : GraphLayers::collapsed));
  }
}

}  // namespace retrosim
