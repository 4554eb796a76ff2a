#include "reports/trace_stats.h"

#include <memory>

#include "cli/command.h"

namespace retrosim::cli {
namespace {

struct Options {
  TraceStatsRequest request;
  std::string out;
  bool json = false;
};

void run(const Options& options) {
  if (!options.out.empty()) require_trace_stats_folder(options.out);
  const TraceStatsAnswer answer = run_trace_stats(options.request);
  if (!answer.warning.empty()) warn(answer.warning);
  if (!options.out.empty()) write_trace_stats_files(answer, options.out);
  print(options.json ? json_text(trace_stats_document(answer)) : trace_stats_text(answer));
}

}  // namespace

void add_trace_stats(CLI::App& trace) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      trace.add_subcommand("stats", "Overlap, reuse, exposure and attention-mass recall of a policy on a trace");
  TraceStatsRequest& request = options->request;
  command->footer(
      "S_t: the pages selected at step t by one KV head, k of them. Overlap at lag n: share of S_t that was in "
      "S_{t-n}.\n"
      "Exposure n: pages a query has seen after n later steps, over k. Recall w: attention mass on S_t u .. u "
      "S_{t+w-1}.\n"
      "Stack distance: pages selected since the page's last selection, those of that step included: an LRU cache of "
      "as\n"
      "many pages still holds it. Intervals: 95 %, circular block bootstrap over steps.");
  command->add_option("FILE", request.file, "The .rtrace file")->required();
  command->add_option("--policy", request.policy, "full, streaming or quest")->capture_default_str();
  command->add_option("--budget", request.budget, "Pages loaded per KV head, as a fraction of the context's [0.15]");
  command->add_option("--budget-tokens", request.budget_tokens, "The same as a number of tokens");
  command->add_option("--windows", request.windows, "Windows, in queries, ascending")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command
      ->add_option("--budgets", request.budgets, "Quest: budgets of the one-pass curve [0.03 to 1, if all are listed]")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--page-sizes", request.page_sizes, "Tokens of merged pages [twice and four times the trace's]")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--max-lag", request.max_lag, "Largest lag of the overlap, in steps")->capture_default_str();
  command->add_option("--block-steps", request.block_steps, "Steps of a bootstrap block")->capture_default_str();
  command->add_option("--resamples", request.resamples, "Bootstrap resamples")->capture_default_str();
  command->add_option("--seed", request.seed, "Of the bootstrap")->capture_default_str();
  command->add_option("--out", options->out, "Folder for trace-stats.json, its text, charts and index.html");
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.trace_stats/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
