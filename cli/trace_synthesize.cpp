#include <algorithm>
#include <memory>
#include <thread>

#include "cli/command.h"
#include "reports/trace_synthesis.h"

namespace retrosim::cli {
namespace {

struct Options {
  TraceSynthesisRequest request;
  bool json = false;
};

void run(Options options) {
  SynthesisOptions& synthesis = options.request.options;
  synthesis.tool_version = std::string("retrosim ") + RETROSIM_VERSION;
  synthesis.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  synthesis.progress = [](std::int64_t done, std::int64_t of) {
    progress(std::to_string(done) + " of " + std::to_string(of) + " steps");
  };
  const TraceSynthesisAnswer answer = run_trace_synthesis(options.request);
  print(options.json ? json_text(trace_synthesis_document(answer)) : trace_synthesis_text(answer));
}

}  // namespace

void add_trace_synthesize(CLI::App& trace) {
  auto options = std::make_shared<Options>();
  SynthesisOptions& synthesis = options->request.options;
  CLI::App* command =
      trace.add_subcommand("synthesize", "Draw a trace from models of recorded ones: longer contexts, other shapes");
  command->footer(
      "The header of the result says that it is synthetic and how it was tested; trace info and simulate repeat it.");
  command->add_option("--from", options->request.from, "Recorded .rtrace file that lists all pages; may be repeated")
      ->required();
  command->add_option("--out", options->request.out, "The .rtrace file to write")->required();
  command->add_option("--context", synthesis.context, "Tokens at the first step; 0: as recorded")
      ->capture_default_str();
  command->add_option("--steps", synthesis.steps, "Steps; 0: as many as are fitted to")->capture_default_str();
  command->add_option("--layers", synthesis.num_layers, "Layers of the model; 0: as recorded")->capture_default_str();
  command->add_option("--kv-heads", synthesis.num_kv_heads, "KV heads; 0: as recorded")->capture_default_str();
  command->add_option("--seed", synthesis.seed, "Same seed, same trace")->capture_default_str();
  command->add_flag(
      "--holdout", options->request.held_out,
      "First fit to each file's first half and compare with its second: overlap, reuse, exposure, recall");
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.trace_synthesize/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
