#include <unistd.h>

#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "model/error.h"
#include "reports/output_file.h"
#include "reports/trace_recording.h"
#ifdef RETROSIM_WITH_CUDA
#include "calibrate/live/gpu_recorder.h"
#endif

namespace retrosim::cli {
namespace {

struct Options {
  std::string checkpoint;
  std::string tokens;
  std::string out;
  RecordOptions record;
  bool gpu = false;
  std::string kv_cache_dtype = "float32";
  bool json = false;
};

/// On a terminal one line that is rewritten, elsewhere a line per report.
void show(const RecordProgress& progress, const RecordOptions& options) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const bool last = progress.tokens_done >= progress.tokens_total;
  std::fprintf(stderr, terminal ? "\r%s\033[K%s" : "%s%s", progress_text(progress, options).c_str(),
               !terminal || last ? "\n" : "");
}

RecordResult record(const Options& options) {
  if (!options.gpu) return record_trace(options.checkpoint, options.tokens, options.record, options.out);
#ifdef RETROSIM_WITH_CUDA
  const DType dtype = parse_dtype(options.kv_cache_dtype, "--kv-cache-dtype");
  return gpu::record_trace_on_gpu(options.checkpoint, options.tokens, options.record, dtype, options.out);
#else
  throw InputError("", "--gpu", "built without CUDA", "a build with the cuda preset, on a machine with a GPU");
#endif
}

void run(Options options) {
  require_writable(options.out, "--out");
  options.record.tool_version = std::string("retrosim ") + RETROSIM_VERSION;
  options.record.progress = [record = options.record](const RecordProgress& progress) { show(progress, record); };
  const RecordResult result = record(options);
  print(options.json ? json_text(recording_document(result, options.out)) : recording_text(result, options.out));
}

}  // namespace

void add_trace_record(CLI::App& trace) {
  auto options = std::make_shared<Options>();
  RecordOptions& record = options->record;
  CLI::App* command =
      trace.add_subcommand("record", "Run a checkpoint over given tokens and record its pages by score and mass");
  command->add_option("--checkpoint", options->checkpoint, "Folder with config.json and safetensors")->required();
  command->add_option("--tokens", options->tokens, "JSON file {\"tokens\": [ids]}")->required();
  command->add_option("--out", options->out, "The .rtrace file to write")->required();
  command
      ->add_option("--first-position", record.first_position, "First recorded query; tokens before it are the prompt")
      ->capture_default_str();
  command->add_option("--steps", record.steps, "Steps to record; 0: to the end of the tokens")->capture_default_str();
  command->add_option("--layers", record.layers, "Layers to record, ascending, e.g. 2,8,16 [all]")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--page-size", record.page_size, "Tokens per page")->capture_default_str();
  command->add_option("--top-m", record.top_m, "Ranked pages kept per step and KV head; 0: all")->capture_default_str();
  command->add_option("--chunk-tokens", record.chunk_tokens, "Tokens run together")->capture_default_str();
  command->add_option("--threads", record.num_threads, "Threads; 0: as many as the machine has")->capture_default_str();
  command->add_option("--model-name", record.model_name, "Name in the header [the checkpoint folder's]");
  command->add_option("--workload", record.workload, "What text this is [the tokens file's source]");
  CLI::Option* gpu = command->add_flag("--gpu", options->gpu, "Run the model on this machine's GPU");
  command
      ->add_option("--kv-cache-dtype", options->kv_cache_dtype,
                   "With --gpu, of weights, activations and cache: float32 or bfloat16")
      ->needs(gpu)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.trace_record/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
