// Flags that say what the live decoder runs.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "calibrate/live/live_config.h"

namespace retrosim::cli {

/// Flags of a live configuration as the user writes them.
struct LiveRequest {
  LiveConfig config;
  std::string kv_cache_dtype = "bfloat16";
  std::string selection = "scores";

  /// Throws InputError for a policy or dtype that there is not.
  LiveConfig resolved() const;
};

void add_live_flags(CLI::App& command, LiveRequest& request);

}  // namespace retrosim::cli
