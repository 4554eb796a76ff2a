// The flags that say what is served, shared by the commands that serve.
#pragma once

#include <CLI/CLI.hpp>

#include "reports/serving_request.h"

namespace retrosim::cli {

/// Model, GPU and KV dtype.
void add_target_flags(CLI::App& command, ServingRequest& request);
/// GPU memory, admission and host overhead.
/// --enable-prefix-caching and --async-scheduling, with their negations.
void add_scheduler_flags(CLI::App& command, ServingRequest& request);
void add_engine_memory_flags(CLI::App& command, ServingRequest& request);
/// Everything: these two, replicas, policy, workload, scheduler and service level.
void add_serving_flags(CLI::App& command, ServingRequest& request);

}  // namespace retrosim::cli
