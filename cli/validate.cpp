#include <memory>

#include "cli/command.h"
#include "cli/serving_flags.h"
#include "reports/output_file.h"
#include "reports/published_validation.h"
#include "reports/serving_validation.h"

namespace retrosim::cli {
namespace {

struct Options {
  ServingRequest request;
  std::string measured;
  std::string csv;
  int rounds = 4;
  bool json = false;
};

void finish(const Options& options, const Json& document, const std::string& csv) {
  if (!options.csv.empty()) write_output_file(options.csv, csv);
  print(json_text(document));
}

void add_output(CLI::App& command, Options& options) {
  command.add_option("--measured", options.measured, "CSV of measurements")->required();
  command.add_option("--csv", options.csv, "Also write measured and predicted, row by row");
  command.add_flag("--json", options.json, "Print one JSON document (always so)");
}

void add_requests(CLI::App& validate) {
  auto options = std::make_shared<Options>();
  CLI::App* command = validate.add_subcommand(
      "requests", "A live server, request by request: arrivals and lengths from the table, latencies against it");
  // The defaults of vLLM from v0.14 on.
  options->request.async_scheduling = true;
  options->request.cudagraph_padding = true;
  options->request.enable_prefix_caching = true;
  command->footer(
      "The defaults are vLLM's: asynchronous scheduling, CUDA graph padding and prefix caching are on (--no-...: "
      "off).");
  add_target_flags(*command, options->request);
  add_scheduler_flags(*command, options->request);
  add_engine_memory_flags(*command, options->request);
  add_output(*command, *options);
  command->callback([options] {
    if (!options->csv.empty()) require_writable(options->csv, "--csv");
    const RequestsValidation validation = validate_requests(options->request, options->measured);
    finish(*options, requests_validation_json(validation), requests_validation_csv(validation));
  });
}

void add_serving(CLI::App& validate) {
  auto options = std::make_shared<Options>();
  options->request.max_num_batched_tokens = 8192;
  CLI::App* command = validate.add_subcommand(
      "serving", "Many servers: mean TPOT of each row's model, GPU, TP, precision, lengths and client concurrency");
  add_engine_memory_flags(*command, options->request);
  command->add_option("--max-num-batched-tokens", options->request.max_num_batched_tokens, "Rows of one step")
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "Requests that each client sends")->capture_default_str();
  add_output(*command, *options);
  command->callback([options] {
    if (!options->csv.empty()) require_writable(options->csv, "--csv");
    const ServingValidation validation = validate_serving(options->request, options->measured, options->rounds);
    finish(*options, serving_validation_json(validation), serving_validation_csv(validation));
  });
}

struct PublishedOptions {
  std::string measured;
  std::string markdown;
  bool json = false;
};

void add_published(CLI::App& validate) {
  auto options = std::make_shared<PublishedOptions>();
  CLI::App* command = validate.add_subcommand(
      "published", "Figures that papers and code published: every row that can be mapped, the rest with the reason");
  command->add_option("--measured", options->measured, "CSV of published figures")->required();
  command->add_option("--markdown", options->markdown, "Also write ours and theirs, row by row, as Markdown");
  command->add_flag("--json", options->json, "Print one JSON document (always so)");
  command->callback([options] {
    if (!options->markdown.empty()) require_writable(options->markdown, "--markdown");
    const PublishedValidation validation = validate_published(options->measured);
    if (!options->markdown.empty()) write_output_file(options->markdown, published_validation_markdown(validation));
    print(json_text(published_validation_json(validation)));
  });
}

}  // namespace

void add_validate(CLI::App& app) {
  CLI::App* validate = app.add_subcommand("validate", "Hold predictions against measurements");
  validate->require_subcommand(0, 1);
  add_validate_live(*validate);
  add_requests(*validate);
  add_serving(*validate);
  add_published(*validate);
  add_validate_ops(*validate);
}

}  // namespace retrosim::cli
