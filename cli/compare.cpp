#include <memory>

#include "cli/command.h"
#include "reports/output_file.h"
#include "reports/policy_comparison.h"

namespace retrosim::cli {
namespace {

struct Options {
  ComparisonRequest request;
  std::string markdown;
  std::string csv;
  std::string svg;
  bool json = false;
};

void run(const Options& options) {
  if (!options.markdown.empty()) require_writable(options.markdown, "--markdown");
  if (!options.csv.empty()) require_writable(options.csv, "--csv");
  if (!options.svg.empty()) require_writable(options.svg, "--svg");
  const PolicyComparison comparison = compare_policies(options.request);
  if (!options.markdown.empty()) write_output_file(options.markdown, comparison_markdown(comparison));
  if (!options.csv.empty()) write_output_file(options.csv, comparison_csv(comparison));
  if (!options.svg.empty()) write_output_file(options.svg, comparison_svg(comparison));
  print(options.json ? json_text(comparison_json(comparison)) : comparison_markdown(comparison));
}

}  // namespace

void add_compare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  ComparisonRequest& request = options->request;
  SimulationRequest& base = request.base;
  base.steps = 16;
  CLI::App* command =
      app.add_subcommand("compare", "Policies side by side over windows, contexts, batches and tensor-parallel sizes");
  CLI::App* target = command->add_option_group("Target");
  target->add_option("--llm", base.llm, "Model: bundled name (see `retrosim llms`), config.json or its folder")
      ->required();
  target->add_option("--gpu", base.gpu, "GPU: bundled name (see `retrosim gpus`), spec or profile JSON");
  target->add_option("--profile", base.profile, "Calibrated GPU profile JSON, instead of the bundled one");
  target->add_option("--kv-cache-dtype", base.kv_cache_dtype, "auto, bfloat16, float16, fp8, int8, int4")
      ->capture_default_str();
  CLI::App* axes = command->add_option_group("Combinations (lists with commas)");
  axes->add_option("--policies", request.policies, "Names, or all when not given")->delimiter(',');
  axes->add_option("--windows", request.windows, "Queries that each loaded page serves")
      ->delimiter(',')
      ->capture_default_str();
  axes->add_option("--contexts", request.contexts, "Tokens in the KV cache")->delimiter(',')->capture_default_str();
  axes->add_option("--batches", request.batches, "Sequences decoded together")->delimiter(',')->capture_default_str();
  axes->add_option("--tensor-parallel-sizes", request.tensor_parallel_sizes, "GPUs that share each layer")
      ->delimiter(',')
      ->capture_default_str();
  CLI::App* policy = command->add_option_group("Policies");
  policy->add_option("--budget", base.budget, "Pages loaded per KV head, as a fraction of the context's [0.15]");
  policy->add_option("--page-size", base.page_size, "Tokens per page")->capture_default_str();
  policy->add_option("--trace", base.trace, "Recorded .rtrace that says which pages are selected [bundled sample]");
  policy->add_option("--steps", base.steps, "Decode steps to simulate")->capture_default_str();
  CLI::App* output = command->add_option_group("Output");
  output->add_flag("--json", options->json, "Print one JSON document, schema retrosim.compare/1");
  output->add_option("--markdown", options->markdown, "Also write the tables as Markdown");
  output->add_option("--csv", options->csv, "Also write every combination as CSV");
  output->add_option("--svg", options->svg,
                     "Also write the Pareto chart of the longest context and first batch: latency and recalled mass");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
