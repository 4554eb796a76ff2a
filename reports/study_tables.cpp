#include "reports/study_tables.h"

#include "reports/format.h"
#include "reports/simulation_json.h"
#include "reports/simulation_text.h"

namespace retrosim {
namespace {

/// The shortest decimal text of a number, as JSON would write it.
std::string number_text(double value) { return Json(value).dump(); }

Table sweep_table(const Sweep& sweep, const DecodeConfig& config) {
  Table table({sweep.input, "full", variant_name(without_window(config)), "as asked", "change", "fits"}, 0);
  for (const SweepPoint& point : sweep.points) {
    table.add({sweep.input == "budget" ? number_text(point.x) : fixed(point.x, 0),
               format_latency_us(point.full.latency_us_mean), format_latency_us(point.without_retro.latency_us_mean),
               format_latency_us(point.asked.latency_us_mean),
               format_change(point.asked.latency_us_mean, point.without_retro.latency_us_mean),
               point.fits ? "yes" : "no"});
  }
  return table;
}

}  // namespace

std::string study_markdown(const Study& study) {
  const SimulationRun& run = study.run;
  const ResolvedSimulation& resolved = run.resolved;
  std::string text = "# " + resolved.config.llm.name + " on " + resolved.gpu.spec.name + ": " +
                     variant_name(resolved.config) + "\n\nPredicted per decode step and GPU; profile " +
                     resolved.gpu.name + ": " + resolved.gpu.provenance + "\n\n" + comparison_table(run).to_markdown() +
                     "\n## Operations of the first step\n\n" + operations_table(run.result).to_markdown();
  for (const Sweep& sweep : study.sweeps) {
    text += "\n## Latency over the " + sweep.input + "\n\n" + sweep_table(sweep, resolved.config).to_markdown();
  }
  return text;
}

std::string study_csv(const Study& study) {
  std::vector<std::string> header = {"sweep", "x", "variant", "fits"};
  const Json fields = step_json(StepSummary{});
  for (auto field = fields.begin(); field != fields.end(); ++field) header.push_back(field.key());
  Table table(header, header.size());
  for (const Sweep& sweep : study.sweeps) {
    for (const SweepPoint& point : sweep.points) {
      const auto add = [&](const char* variant, const StepSummary& step) {
        std::vector<std::string> row = {sweep.input, number_text(point.x), variant, point.fits ? "true" : "false"};
        for (const Json& value : step_json(step)) row.push_back(value.dump());
        table.add(std::move(row));
      };
      add("full", point.full);
      add("without_retro", point.without_retro);
      add("asked", point.asked);
    }
  }
  return table.to_csv();
}

}  // namespace retrosim
