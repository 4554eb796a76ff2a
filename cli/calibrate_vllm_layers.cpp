#include <memory>

#include "calibrate/fit_vllm_layers.h"
#include "cli/command.h"
#include "reports/calibration_files.h"

namespace retrosim::cli {
namespace {

struct Options {
  std::string measured;
  std::string table;
  std::string gpu;
  std::string llm;
  CalibrationFiles files;
  bool json = false;
};

void run(const Options& options) {
  options.files.require_writable();
  const PublishedFit fit = fit_vllm_layers(options.measured, options.table, options.gpu, options.llm);
  options.files.write(fit);
  print(options.json ? json_text(calibration_json(fit)) : calibration_text(fit));
}

}  // namespace

void add_calibrate_vllm_layers(CLI::App& calibrate) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      calibrate.add_subcommand("fit-vllm-layers", "Fit a profile to the kernel times of a vLLM profiler, by layer");
  command->add_option("--measured", options->measured, "Folder with vllm_layers_*.csv and vllm_attn_decode_*.csv")
      ->required();
  command->add_option("--table", options->table, "End of the tables' names, e.g. rtx4090")->required();
  command->add_option("--gpu", options->gpu, "Their GPU: bundled name or spec JSON")->required();
  command->add_option("--llm", options->llm, "Their model: bundled name or config.json")->required();
  command->add_option("--out", options->files.profile, "Profile JSON to write")->required();
  command->add_option("--hold-out", options->files.hold_out, "Also write the held-out samples as CSV");
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.calibrate/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
