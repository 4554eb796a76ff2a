#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/serving_flags.h"
#include "model/error.h"
#include "reports/output_file.h"
#include "reports/serving_plan.h"

namespace retrosim::cli {
namespace {

struct Options {
  PlanRequest request;
  std::string csv;
  bool json = false;
};

void run(const Options& options) {
  if (!options.csv.empty()) require_writable(options.csv, "--csv");
  const ServingPlan plan = make_serving_plan(options.request, true);
  if (!options.csv.empty()) write_output_file(options.csv, plan_csv(plan));
  print(options.json ? json_text(plan_json(plan)) : plan_text(plan));
  if (cheapest(plan.candidates, plan.points) < 0) throw InfeasibleError("no choice meets the service level");
}

}  // namespace

void add_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  PlanRequest& request = options->request;
  CLI::App* command = app.add_subcommand("plan", "The cheapest choice that serves a workload under a service level");
  add_serving_flags(*command, request.base);
  CLI::App* grid = command->add_option_group("Choices (lists; without one, the single value above)");
  const auto list = [&](const char* flag, auto& values, const char* what) {
    grid->add_option(flag, values, what)->delimiter(',');
  };
  list("--gpus", request.gpus, "GPUs");
  list("--tensor-parallel-sizes", request.tensor_parallel_sizes, "GPUs of one replica");
  list("--policies", request.policies, "Policies");
  list("--budgets", request.budgets, "Budgets, fractions of pages");
  list("--budget-tokens-list", request.budget_tokens, "Budgets, numbers of tokens");
  list("--windows", request.windows, "Windows");
  list("--kv-cache-dtypes", request.kv_cache_dtypes, "KV dtypes");
  list("--max-num-seqs-list", request.max_num_seqs, "Sequences in one step");
  CLI::App* goal = command->add_option_group("Goal");
  goal->add_option("--slo-percentile", request.slo_percentile, "Of requests (ITL: gaps) that meet the limits")
      ->capture_default_str();
  goal->add_option("--slo-itl-ms", request.slo_itl_ms, "Limit on the gap between tokens");
  goal->add_option("--min-mass-recall", request.min_fidelity, "Least attention mass on loaded pages")
      ->capture_default_str();
  goal->add_option("--gpu-price", request.prices, "GPU=USD_PER_HOUR, again for every GPU")->take_all();
  goal->add_option("--threads", request.threads, "Threads")->capture_default_str();
  CLI::App* output = command->add_option_group("Output");
  output->add_flag("--json", options->json, "Print one JSON document, schema retrosim.plan/1");
  output->add_option("--csv", options->csv, "Also write one line per choice");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
