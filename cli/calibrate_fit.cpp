#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "reports/calibration_files.h"

namespace retrosim::cli {
namespace {

struct Options {
  std::vector<std::string> samples;
  std::string base = "h100-sxm";
  CalibrationFiles files;
  bool json = false;
};

void run(const Options& options) {
  options.files.require_writable();
  CalibrationFit fit =
      fit_calibration({options.samples.begin(), options.samples.end()}, find_gpu_profile(options.base));
  const std::filesystem::path folder = std::filesystem::absolute(options.files.profile).parent_path();
  for (SampleFile& file : fit.ops.profile.sample_files) {
    file.path = std::filesystem::proximate(std::filesystem::absolute(file.path), folder).string();
  }
  options.files.write(fit.ops);
  print(options.json ? json_text(calibration_fit_json(fit)) : calibration_text(fit.ops));
}

}  // namespace

void add_calibrate_fit(CLI::App& calibrate) {
  auto options = std::make_shared<Options>();
  CLI::App* command = calibrate.add_subcommand("fit", "Fit a profile to the samples that `calibrate --out` left");
  command
      ->add_option("--samples", options->samples,
                   "Folders with samples.jsonl(.zst) and machine.json; the first one of a whole run")
      ->required();
  command->add_option("--base", options->base, "Profile for what was not measured")->capture_default_str();
  command->add_option("--out", options->files.profile, "Profile JSON to write")->required();
  command->add_option("--hold-out", options->files.hold_out, "Also write the held-out samples as CSV");
  command->add_option("--report", options->files.report, "Also write a Markdown report of the fit");
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.calibrate/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
