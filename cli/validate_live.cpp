#include <filesystem>
#include <memory>

#include "calibrate/live/closed_loop.h"
#include "calibrate/live/live_grid.h"
#include "cli/command.h"
#include "model/error.h"
#include "reports/live_report.h"
#ifdef RETROSIM_WITH_CUDA
#include "calibrate/live/live_run.h"
#endif

namespace retrosim::cli {
namespace {

struct Options {
  std::string profile;
  std::vector<std::string> measured;
  std::string out;
  double seconds = 240;
  std::uint64_t seed = 1;
  std::vector<std::string> groups{"grid", "policies", "overhead", "overlap"};
  bool json = false;
};

#ifdef RETROSIM_WITH_CUDA
std::vector<LiveConfig> grid_of(const Options& options) {
  std::vector<LiveConfig> grid;
  const auto add = [&grid](std::vector<LiveConfig> more) { grid.insert(grid.end(), more.begin(), more.end()); };
  for (const std::string& group : options.groups) {
    if (group == "grid") {
      add(live_grid({.seed = options.seed}));
    } else if (group == "policies") {
      add(policy_grid(options.seed));
    } else if (group == "overhead") {
      add(overhead_grid(options.seed));
    } else if (group == "overlap") {
      add(overlap_grid(options.seed));
    } else {
      throw InputError("", "--groups", group, "grid, policies, overhead or overlap");
    }
  }
  return grid;
}

void measure(const Options& options, const std::filesystem::path& file) {
  const gpu::LiveRunResult counts = gpu::run_live_grid(grid_of(options), {.out = file, .seconds = options.seconds},
                                                       [](const std::string& line) { progress(line); });
  progress("measured " + std::to_string(counts.measured) + ", not run " + std::to_string(counts.failed) + ", left " +
           std::to_string(counts.left));
}
#else
void measure(const Options&, const std::filesystem::path&) {
  throw InputError("", "validate", "built without CUDA",
                   "--measured FILE of live results, or a build with the cuda preset on a machine with a GPU");
}
#endif

void run(Options options) {
  if (options.out.empty()) throw InputError("", "--out", "nothing", "a folder for results and report");
  const std::filesystem::path folder(options.out);
  std::filesystem::create_directories(folder);
  if (options.measured.empty()) {
    options.measured.push_back((folder / "live.jsonl").string());
    measure(options, options.measured[0]);
  }
  if (options.profile.empty()) return;  // only measured
  std::vector<LiveResult> results;
  std::vector<ClosedLoop> loops;
  const GpuProfile gpu = find_gpu_profile(options.profile);
  for (const std::string& file : options.measured) {
    for (LiveResult& result : read_live_results(file)) {
      if (result.config.group != "closed_loop") {
        results.push_back(std::move(result));
      } else if (result.error.empty()) {
        loops.push_back(compare_with_trace(result, std::filesystem::path(file).parent_path(), gpu));
      }
    }
  }
  LiveValidation validation = validate_live(results, gpu);
  validation.closed_loop = std::move(loops);
  write_live_validation(validation, folder);
  if (options.json) print(json_text(live_validation_json(validation)));
}

void add_flags(CLI::App& command, const std::shared_ptr<Options>& options) {
  command.add_option("--profile", options->profile, "Profile of this GPU: bundled name or JSON; none: only measure");
  command.add_option("--out", options->out, "Folder for live.jsonl and validation.{json,md,html}");
  command.add_option("--measured", options->measured, "Files of live results measured before, instead of the GPU");
  command.add_option("--seconds", options->seconds, "Limit on measuring")->capture_default_str();
  command.add_option("--grid-seed", options->seed, "Of the configurations")->capture_default_str();
  command.add_option("--groups", options->groups, "grid, policies, overhead, overlap")->delimiter(',');
  command.add_flag("--json", options->json, "Also print the document, schema retrosim.validate_live/1");
}

}  // namespace

void add_validate_live(CLI::App& validate) {
  auto options = std::make_shared<Options>();
  add_flags(validate, options);
  validate.callback([options, &validate] {
    if (validate.get_subcommands().empty()) run(*options);
  });
  auto own = std::make_shared<Options>();
  CLI::App* live =
      validate.add_subcommand("live", "The live decoder on this machine's GPU (what `validate` alone does)");
  add_flags(*live, own);
  live->callback([own] { run(*own); });
}

}  // namespace retrosim::cli
