#include <memory>

#include "cli/command.h"
#include "reports/output_file.h"
#include "reports/simulation_json.h"
#include "reports/study.h"
#include "reports/study_html.h"
#include "reports/study_tables.h"

namespace retrosim::cli {
namespace {

struct Options {
  SimulationRequest request;
  std::string out;
  std::string markdown;
  std::string csv;
  bool json = false;
};

void run(const Options& options) {
  require_writable(options.out, "--out");
  if (!options.markdown.empty()) require_writable(options.markdown, "--markdown");
  if (!options.csv.empty()) require_writable(options.csv, "--csv");
  const Study study = run_study(options.request);
  for (const std::string& warning : warnings_of(study.run)) warn(warning);
  write_output_file(options.out, study_html(study));
  if (!options.markdown.empty()) write_output_file(options.markdown, study_markdown(study));
  if (!options.csv.empty()) write_output_file(options.csv, study_csv(study));
  if (options.json) print(json_text(study_json(study)));
}

}  // namespace

void add_report(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("report", "Write a self-contained HTML report that works offline");
  add_simulation_flags(*command, options->request);
  CLI::App* output = command->add_option_group("Output");
  output->add_option("--out", options->out, "HTML file to write")->required();
  output->add_option("--markdown", options->markdown, "Also write the tables as Markdown");
  output->add_option("--csv", options->csv, "Also write every simulated point as CSV");
  output->add_flag("--json", options->json, "Print the report's data, schema retrosim.report/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
