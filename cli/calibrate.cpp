#include <memory>

#include "cli/command.h"
#include "model/error.h"
#include "reports/calibration_files.h"
#ifdef RETROSIM_WITH_CUDA
#include "calibrate/calibration_design.h"
#include "calibrate/gpu/calibration_run.h"
#endif

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

struct MeasureOptions {
  std::string out;
  double seconds = 240;
  std::uint64_t seed = 1;
  bool attention_alone = false;
};

#ifdef RETROSIM_WITH_CUDA
void measure(const MeasureOptions& options) {
  if (options.out.empty()) throw InputError("", "--out", "nothing", "a folder for the samples");
  const gpu::CalibrationResult result =
      gpu::run_calibration({.out = options.out,
                            .seconds = options.seconds,
                            .seed = options.seed,
                            .first_case = options.attention_alone ? kFirstAttentionCase : 0},
                           [](const std::string& line) { progress(line); });
  print("cases " + std::to_string(result.cases) + ", samples " + std::to_string(result.samples) + ", throttled " +
        std::to_string(result.throttled) + ", shapes without a kernel " + std::to_string(result.refused) + "\n");
}
#else
void measure(const MeasureOptions&) {
  throw InputError("", "calibrate", "built without CUDA", "a build with the cuda preset, on a machine with a GPU");
}
#endif

}  // namespace

void add_calibrate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto measuring = std::make_shared<MeasureOptions>();
  CLI::App* calibrate =
      app.add_subcommand("calibrate", "Measure every operation on this machine's GPU; or fit a profile to samples");
  calibrate->require_subcommand(0, 1);
  calibrate->add_option("--out", measuring->out, "Folder for samples.jsonl; a run that was cut off goes on there");
  calibrate->add_option("--seconds", measuring->seconds, "Limit on the run")->capture_default_str();
  calibrate->add_option("--seed", measuring->seed, "Of the grid of shapes")->capture_default_str();
  calibrate->add_flag("--attention-only", measuring->attention_alone,
                      "More samples of decode attention alone, for a folder of their own");
  calibrate->callback([measuring, calibrate] {
    if (calibrate->get_subcommands().empty()) measure(*measuring);
  });
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
  add_calibrate_fit(*calibrate);
}

}  // namespace retrosim::cli
