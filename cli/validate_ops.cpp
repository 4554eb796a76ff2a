#include <memory>

#include "cli/command.h"
#include "reports/op_validation_json.h"
#include "reports/output_file.h"

namespace retrosim::cli {
namespace {

struct Options {
  SimulationRequest request;
  std::string measured;
  std::string csv;
  bool json = false;
};

void run(const Options& options) {
  if (!options.csv.empty()) require_writable(options.csv, "--csv");
  const OpValidation validation = validate_ops(options.measured, resolve_gpu(options.request));
  if (!options.csv.empty()) write_output_file(options.csv, op_validation_csv(validation));
  print(json_text(op_validation_json(validation)));
}

}  // namespace

void add_validate_ops(CLI::App& validate) {
  auto options = std::make_shared<Options>();
  CLI::App* command = validate.add_subcommand(
      "ops", "A table of operation times (products, decode attention, layers) against their prices on a GPU");
  add_gpu_flags(*command, options->request);
  command->add_option("--measured", options->measured, "CSV with the columns of aic_gemm_*, aic_attn_decode_*, vllm_*")
      ->required();
  command->add_option("--csv", options->csv, "Also write measured and predicted, row by row");
  command->add_flag("--json", options->json, "Print one JSON document (always so)");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
