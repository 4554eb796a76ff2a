#include <memory>

#include "cli/command.h"
#include "reports/calibration_files.h"

namespace retrosim::cli {
namespace {

struct Options {
  std::string measured;
  std::string gpu = "h100-sxm";
  CalibrationFiles files;
  bool json = false;
};

void run(const Options& options) {
  options.files.require_writable();
  const PublishedFit fit = fit_published_tables(options.measured, options.gpu);
  options.files.write(fit);
  print(options.json ? json_text(calibration_json(fit)) : calibration_text(fit));
}

}  // namespace

void add_calibrate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* calibrate = app.add_subcommand("calibrate", "Fit GPU profiles");
  calibrate->require_subcommand(1);
  CLI::App* command =
      calibrate->add_subcommand("fit-published", "Fit a profile to tables that others measured and published");
  command->add_option("--measured", options->measured, "Folder with the published tables")->required();
  command->add_option("--gpu", options->gpu, "Their GPU: bundled name")->capture_default_str();
  command->add_option("--out", options->files.profile, "Profile JSON to write")->required();
  command->add_option("--hold-out", options->files.hold_out, "Also write the held-out samples as CSV");
  command->add_option("--report", options->files.report, "Also write a Markdown report of the fit");
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.calibrate/1");
  command->callback([options] { run(*options); });
  add_calibrate_vllm_layers(*calibrate);
}

}  // namespace retrosim::cli
