#include <memory>

#include "cli/command.h"
#include "reports/output_file.h"
#include "reports/simulation_files.h"
#include "reports/simulation_json.h"
#include "reports/simulation_text.h"

namespace retrosim::cli {
namespace {

struct Options {
  SimulationRequest request;
  SimulationFiles files;
  bool json = false;
};

void run(const Options& options) {
  options.files.require_writable();
  const SimulationRun result = run_simulation(resolve(options.request));
  for (const std::string& warning : warnings_of(result)) warn(warning);
  options.files.write(result);
  print(options.json ? json_text(simulation_json(result)) : simulation_text(result));
}

}  // namespace

void add_simulate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("simulate", "Predict one decode step on a GPU, beside its alternatives");
  add_simulation_flags(*command, options->request);
  CLI::App* output = command->add_option_group("Output");
  output->add_flag("--json", options->json, "Print one JSON document, schema retrosim.simulate/1");
  output->add_option("--timeline", options->files.timeline, "Also write the first step as a Perfetto timeline");
  CLI::Option* graph = output->add_option("--graph", options->files.graph, "Also write its step graph for Graphviz");
  output->add_flag("--graph-all-layers", options->files.graph_all_layers, "Draw every layer, not one of each kind")
      ->needs(graph);
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
