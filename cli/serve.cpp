#include <memory>

#include "cli/command.h"
#include "cli/serving_flags.h"
#include "reports/output_file.h"
#include "reports/serving_json.h"
#include "reports/serving_timeline.h"

namespace retrosim::cli {
namespace {

struct Options {
  ServingRequest request;
  std::string requests_csv;
  std::string seconds_csv;
  std::string timeline;
  bool json = false;
};

void run(const Options& options) {
  if (!options.requests_csv.empty()) require_writable(options.requests_csv, "--requests-csv");
  if (!options.seconds_csv.empty()) require_writable(options.seconds_csv, "--seconds-csv");
  if (!options.timeline.empty()) require_writable(options.timeline, "--timeline");
  const ServingOutcome outcome = run_serving(options.request, !options.timeline.empty());
  if (!options.requests_csv.empty()) write_output_file(options.requests_csv, requests_csv(outcome));
  if (!options.seconds_csv.empty()) write_output_file(options.seconds_csv, seconds_csv(outcome));
  if (!options.timeline.empty()) write_output_file(options.timeline, serving_timeline(outcome.run));
  print(options.json ? json_text(serving_json(outcome)) : serving_text(outcome));
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("serve", "Serve a workload: continuous batching on one or more replicas");
  add_serving_flags(*command, options->request);
  CLI::App* output = command->add_option_group("Output");
  output->add_flag("--json", options->json, "Print one JSON document, schema retrosim.serve/1");
  output->add_option("--requests-csv", options->requests_csv,
                     "Also write one line per request: outcome, tokens, arrival, queue, TTFT, TPOT, latency, "
                     "preemptions, replica");
  output->add_option("--seconds-csv", options->seconds_csv,
                     "Also write one line per second: arrivals, ends, tokens; running, waiting and KV blocks");
  output->add_option("--timeline", options->timeline,
                     "Also write steps, requests, queue and KV blocks over time as a Perfetto timeline");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
