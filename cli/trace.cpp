#include "cli/command.h"

namespace retrosim::cli {

void add_trace(CLI::App& app) {
  CLI::App* trace = app.add_subcommand("trace", "Record, describe and analyse attention traces");
  trace->require_subcommand(1);
  add_trace_record(*trace);
  add_trace_info(*trace);
  add_trace_compare(*trace);
  add_trace_stats(*trace);
  add_trace_synthesize(*trace);
}

}  // namespace retrosim::cli
