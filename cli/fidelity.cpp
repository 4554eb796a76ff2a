#include "reports/fidelity.h"

#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "reports/format.h"

namespace retrosim::cli {
namespace {

struct Options {
  FidelityRequest request;
  bool json = false;
};

void run(Options options) {
  FidelityOptions& fidelity = options.request.options;
  fidelity.progress = [](std::int64_t done, std::int64_t of, double elapsed_s) {
    if (done % 16 != 0 && done != of) return;
    std::fprintf(stderr, "%lld of %lld steps, %s s\n", static_cast<long long>(done), static_cast<long long>(of),
                 fixed(elapsed_s, 1).c_str());
  };
  const FidelityResult result =
      measure_fidelity(options.request.checkpoint, options.request.tokens, options.request.options);
  print(options.json ? json_text(fidelity_document(options.request, result), options.request.per_step ? -1 : 2)
                     : fidelity_text(options.request, result));
}

}  // namespace

void add_fidelity(CLI::App& app) {
  auto options = std::make_shared<Options>();
  FidelityRequest& request = options->request;
  FidelityOptions& fidelity = request.options;
  CLI::App* command = app.add_subcommand(
      "fidelity", "Decode a checkpoint under sparse policies and compare its predictions with full attention's");
  command->add_option("--checkpoint", request.checkpoint, "Folder with config.json and safetensors")->required();
  command->add_option("--tokens", request.tokens, "JSON file {\"tokens\": [ids]}")->required();
  command->add_option("--first-position", fidelity.first_position, "First decoded token; those before are the prompt")
      ->required();
  command->add_option("--steps", fidelity.steps, "Tokens to decode; 0: as many as the file allows")
      ->capture_default_str();
  command->add_option("--budgets", fidelity.budgets, "Pages loaded per KV head, as fractions of the context's")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command
      ->add_option("--variants", fidelity.variants,
                   "full, quest, retro:W, oracle, reuse:N (a selection serves N steps), served:N (the selections of "
                   "the last N steps serve the current token)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_flag("--free-running", fidelity.free_running, "Each variant follows its own greedy choices");
  command->add_option("--page-size", fidelity.page_size, "Tokens per page")->capture_default_str();
  command->add_option("--dense-layers", fidelity.dense_layers, "First layers that attend to everything")
      ->capture_default_str();
  command->add_option("--chunk-tokens", fidelity.chunk_tokens, "Tokens of a dense pass run together")
      ->capture_default_str();
  command->add_option("--threads", fidelity.num_threads, "Threads; 0: as many as the machine has")
      ->capture_default_str();
  command->add_option("--time-limit-s", fidelity.time_limit_s, "Stop decoding after so many seconds; 0: never")
      ->capture_default_str();
  command->add_flag("--per-step", request.per_step, "With --json: every step's figures as well, on one line");
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.fidelity/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
