#include "cli/live_flags.h"

#include "model/error.h"

namespace retrosim::cli {

LiveConfig LiveRequest::resolved() const {
  LiveConfig live = config;
  live.id = "live";
  live.group = "live";
  if (live.policy == "retro") {
    live.policy = "quest";
    if (live.window == 1) live.window = 2;
  }
  live.kv_dtype = parse_dtype(kv_cache_dtype == "auto" ? "bfloat16" : kv_cache_dtype, "--kv-cache-dtype");
  if (selection == "drift") {
    live.selection = LiveSelection::drift;
  } else if (selection != "scores") {
    throw InputError("", "--selection", selection, "scores or drift");
  }
  return live;
}

void add_live_flags(CLI::App& command, LiveRequest& request) {
  LiveConfig& live = request.config;
  command.add_option("--llm", live.llm, "Model shape: bundled name or config.json")->capture_default_str();
  command.add_option("--layers", live.layers, "Run only the model's first layers; 0: all")->capture_default_str();
  command.add_option("--policy", live.policy, "full, streaming, quest, retro, reuse or arkvale")->capture_default_str();
  command.add_option("--window", live.window, "Queries that each loaded page serves")->capture_default_str();
  command.add_option("--budget", live.budget, "Pages loaded per KV head, as a fraction of the context's")
      ->capture_default_str();
  command.add_option("--batch", live.batch, "Sequences decoded together")->capture_default_str();
  command.add_option("--context", live.context, "Tokens in the KV cache")->capture_default_str();
  command.add_option("--page-size", live.page_size, "Tokens per page")->capture_default_str();
  command.add_option("--dense-layers", live.dense_layers, "First layers that attend to everything")
      ->capture_default_str();
  command.add_option("--kv-cache-dtype", request.kv_cache_dtype, "auto, bfloat16, fp8 or float32")
      ->capture_default_str();
  command
      .add_option("--selection", request.selection,
                  "scores: the layers' own; drift: given scores that change like a text's")
      ->capture_default_str();
  command.add_option("--correlation", live.correlation, "Of a drifting score from step to step")->capture_default_str();
  command.add_option("--prefetch-bytes", live.prefetch_bytes, "Copied from host memory beside each step")
      ->capture_default_str();
  command.add_option("--seed", live.seed, "Of weights, caches and drift")->capture_default_str();
}

}  // namespace retrosim::cli
