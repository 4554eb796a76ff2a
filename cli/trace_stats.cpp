#include "reports/trace_stats.h"

#include <memory>

#include "cli/command.h"

namespace retrosim::cli {
namespace {

struct Options {
  TraceStatsRequest request;
  bool json = false;
};

void run(const Options& options) {
  const TraceStatsAnswer answer = run_trace_stats(options.request);
  if (!answer.warning.empty()) warn(answer.warning);
  print(options.json ? json_text(trace_stats_document(answer)) : trace_stats_text(answer));
}

}  // namespace

void add_trace_stats(CLI::App& trace) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      trace.add_subcommand("stats", "Overlap, exposure and attention-mass recall of a policy on a trace");
  TraceStatsRequest& request = options->request;
  command->add_option("FILE", request.file, "The .rtrace file")->required();
  command->add_option("--policy", request.policy, "full, streaming or quest")->capture_default_str();
  command->add_option("--budget", request.budget, "Pages loaded per KV head, as a fraction of the context's [0.15]");
  command->add_option("--budget-tokens", request.budget_tokens, "The same as a number of tokens");
  command->add_option("--windows", request.windows, "Windows, in queries, ascending")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.trace_stats/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
