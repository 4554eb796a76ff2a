// The subcommands of `retrosim`, one file each: flags in, one call, text out. Nothing is computed here.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "reports/simulation_request.h"

namespace retrosim::cli {

void add_simulate(CLI::App& app);
void add_report(CLI::App& app);
void add_compare(CLI::App& app);
void add_serve(CLI::App& app);
void add_validate(CLI::App& app);
void add_validate_ops(CLI::App& validate);
void add_plan(CLI::App& app);
void add_sweep(CLI::App& app);
void add_chart(CLI::App& app);
void add_trace(CLI::App& app);
void add_trace_record(CLI::App& trace);
void add_trace_compare(CLI::App& trace);
void add_trace_info(CLI::App& trace);
void add_trace_stats(CLI::App& trace);
void add_trace_synthesize(CLI::App& trace);
void add_fidelity(CLI::App& app);
void add_calibrate(CLI::App& app);
void add_calibrate_vllm_layers(CLI::App& calibrate);
void add_calibrate_fit(CLI::App& calibrate);
void add_live(CLI::App& app);
void add_validate_live(CLI::App& validate);
void add_gpus(CLI::App& app);
void add_llms(CLI::App& app);

/// The policies, for --help.
std::string policy_help();
/// --gpu, --profile and --set.
void add_gpu_flags(CLI::App& command, SimulationRequest& request);

/// The flags that say what is to be simulated, shared by `simulate` and `report`.
void add_simulation_flags(CLI::App& command, SimulationRequest& request);

/// Writes to stdout. Throws InputError when it cannot be written (a full disk, a closed pipe).
void print(std::string_view text);

/// Writes "retrosim: warning: <text>" to stderr.
void warn(std::string_view text);

/// Writes "retrosim: <text>" to stderr.
void progress(std::string_view text);

}  // namespace retrosim::cli
