#include <fstream>
#include <memory>

#include "calibrate/live/counter_expectation.h"
#include "calibrate/live/generate.h"
#include "calibrate/live/live_grid.h"
#include "calibrate/live/live_result.h"
#include "cli/command.h"
#include "cli/live_flags.h"
#include "model/error.h"
#include "reports/json_text.h"
#ifdef RETROSIM_WITH_CUDA
#include "calibrate/live/closed_loop_run.h"
#include "calibrate/live/counter_run.h"
#include "calibrate/live/live_decoder.h"
#include "calibrate/live/live_run.h"
#endif

namespace retrosim::cli {
namespace {

struct Options {
  LiveRequest request;
  GenerateRequest generate;
  std::string device = "cuda";
  std::vector<std::string> tokens;
  std::string out;
  std::string expected_of;
  int steps = 24;
  double seconds = 120;
  bool json = false;
};

#ifdef RETROSIM_WITH_CUDA
void run_one(const Options& options) {
  gpu::LiveWeights weights;
  const LiveResult result = gpu::run_live(options.request.resolved(), weights, {.timed_steps = options.steps}, nullptr);
  print(Json::parse(to_json_line(result)).dump(2) + "\n");
}

void closed_loop(const Options& options) {
  gpu::ClosedLoopOptions run{.checkpoint = options.generate.checkpoint, .out = options.out, .seconds = options.seconds};
  run.tokens.assign(options.tokens.begin(), options.tokens.end());
  const int runs = gpu::run_closed_loop(run, [](const std::string& line) { progress(line); });
  print("runs " + std::to_string(runs) + "\n");
}

void counters_on_gpu(const Options& options) {
  gpu::run_for_counters(counter_grid(1), options.out, [](const std::string& line) { progress(line); });
}
#else
[[noreturn]] void need_cuda() {
  throw InputError("", "live", "built without CUDA", "a build with the cuda preset, on a machine with a GPU");
}
void run_one(const Options&) { need_cuda(); }
void closed_loop(const Options&) { need_cuda(); }
void counters_on_gpu(const Options&) { need_cuda(); }
#endif

void counters(const Options& options) {
  if (options.expected_of.empty()) return counters_on_gpu(options);
  const GpuSpec gpu = find_gpu_spec(options.expected_of);
  std::ofstream out(options.out);
  if (!out) throw InputError(options.out + ": cannot be written");
  for (const LiveConfig& live : counter_grid(1)) {
    write_expected_bytes(out, live, decoder_graph(live, gpu.sm_count), gpu.l2_bytes);
  }
}

std::vector<std::int32_t> generated(const GenerateRequest& request, const std::string& device) {
  if (device == "cpu") return generate_on_host(request);
#ifdef RETROSIM_WITH_CUDA
  if (device == "cuda") return gpu::generate(request);
#endif
  throw InputError("", "--device", device, "cpu, or cuda in a build with the cuda preset");
}

void generate(const Options& options) {
  GenerateRequest request = options.generate;
  request.config = options.request.resolved();
  print(json_text(Json{{"schema", "retrosim.generate/1"},
                       {"device", options.device},
                       {"config", to_json(request.config)},
                       {"prompt_tokens", request.prompt},
                       {"tokens", generated(request, options.device)}},
                  -1) +
        "\n");
}

void add_generate(CLI::App& live) {
  auto options = std::make_shared<Options>();
  CLI::App* command = live.add_subcommand("generate", "Tokens that a checkpoint generates greedily under a policy");
  add_live_flags(*command, options->request);
  command->add_option("--checkpoint", options->generate.checkpoint, "Folder with config.json and safetensors")
      ->required();
  command->add_option("--tokens", options->generate.tokens_file, "JSON file {\"tokens\": [ids]}")->required();
  command->add_option("--prompt-tokens", options->generate.prompt, "Tokens of the file that are given")
      ->capture_default_str();
  command->add_option("--steps", options->generate.steps, "Tokens to generate")->capture_default_str();
  command->add_option("--device", options->device, "cuda, or cpu: the host decoder, float32")->capture_default_str();
  command->callback([options] { generate(*options); });
}

void add_closed_loop(CLI::App& live) {
  auto options = std::make_shared<Options>();
  CLI::App* command = live.add_subcommand("closed-loop", "Runs of a checkpoint that record their own traces");
  command->add_option("--checkpoint", options->generate.checkpoint, "Folder with config.json and safetensors")
      ->required();
  command->add_option("--tokens", options->tokens, "JSON files {\"tokens\": [ids]}")->required();
  command->add_option("--out", options->out, "Folder for closed_loop.jsonl and the traces")->required();
  command->add_option("--seconds", options->seconds, "Limit on the runs")->capture_default_str();
  command->callback([options] { closed_loop(*options); });
}

void add_counters(CLI::App& live) {
  auto options = std::make_shared<Options>();
  CLI::App* command = live.add_subcommand(
      "counters", "One step of each of 24 configurations, for `ncu --profile-from-start off`, and its expected bytes");
  command->add_option("--out", options->out, "File of expected bytes, a line per kernel")->required();
  command->add_option("--expected-of", options->expected_of,
                      "Run nothing: only the expected bytes, on this GPU (bundled name or spec)");
  command->callback([options] { counters(*options); });
}

}  // namespace

void add_live(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("live", "Decode on this machine's GPU and time each step and operation");
  command->require_subcommand(0, 1);
  add_live_flags(*command, options->request);
  command->add_option("--steps", options->steps, "Steps to time")->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.live/1 (always so)");
  command->callback([options, command] {
    if (command->get_subcommands().empty()) run_one(*options);
  });
  add_generate(*command);
  add_closed_loop(*command);
  add_counters(*command);
}

}  // namespace retrosim::cli
