#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/mpi_ranks.h"
#include "reports/sweep_run.h"

namespace retrosim::cli {
namespace {

struct Options {
  std::string spec;
  SweepOptions sweep;
};

/// A line on stderr, rewritten on a terminal, else written every ten seconds, and the last one in any case.
class ProgressLine {
 public:
  void operator()(const SweepProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    const bool last = progress.completed == progress.total;
    if (!last && now - shown_ < (terminal_ ? kOnTerminal : kInLog)) return;
    if (last && finished_) return;
    finished_ = last;
    shown_ = now;
    std::fprintf(stderr, "%sretrosim: sweep: %s%s", terminal_ ? "\r\033[K" : "", describe(progress).c_str(),
                 terminal_ && !last ? "" : "\n");
  }

 private:
  static constexpr std::chrono::milliseconds kOnTerminal{500};
  static constexpr std::chrono::milliseconds kInLog{10'000};
  bool terminal_ = isatty(STDERR_FILENO) != 0;
  bool finished_ = false;
  std::chrono::steady_clock::time_point shown_ = std::chrono::steady_clock::now();
};

void run(const Options& options) {
  const SweepSpec spec = load_sweep_spec(options.spec);
  std::unique_ptr<RankLink> link = join_mpi_ranks();
  const SweepOutcome outcome = run_sweep(spec, options.sweep, link.get(), ProgressLine());
  if (outcome.end != RankEnd::together) leave_lost_ranks(std::move(link));
}

}  // namespace

void add_sweep(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "sweep", "Many simulate or serve questions: a grid or a Latin hypercube over their inputs, to a table");
  command->footer(
      "SPEC.json: {\"schema\": \"retrosim.sweep-spec/1\", \"command\": \"simulate\" or \"serve\", \"inputs\": "
      "{\"llm\": "
      "...},\n  \"grid\": [{\"input\": \"context\", \"values\": [8192, 32768]}, {\"input\": \"batch\", \"low\": 1, "
      "\"high\": 256, \"points\": 9, \"scale\": \"log\"}]}\nor \"latin_hypercube\": {\"samples\": 1000, \"seed\": 0, "
      "\"axes\": [...]}. Inputs are the commands' flags with underscores.\nOn several machines: mpirun -n N retrosim "
      "sweep ...; with --enable-recovery the sweep outlives lost ranks.");
  command->add_option("SPEC", options->spec, "What to sweep (JSON)")->required();
  command->add_option("--out", options->sweep.out, "Table to write: .csv or .jsonl, one row per point")->required();
  command->add_flag("--resume", options->sweep.resume, "Go on with the table of a run that was stopped");
  command->add_option("--threads", options->sweep.threads, "Threads, of each rank")->capture_default_str();
  command
      ->add_option("--rank-timeout-s", options->sweep.rank_timeout_s,
                   "Silence after which a rank is taken for lost and its points are computed by others")
      ->capture_default_str();
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
