#include "reports/trace_info.h"

#include <memory>
#include <string>

#include "cli/command.h"

namespace retrosim::cli {
namespace {

struct Options {
  std::string file;
  bool json = false;
};

void run(const Options& options) {
  const TraceReader trace(options.file);
  if (trace.truncated()) warn(truncation_warning(trace));
  print(options.json ? json_text(trace_info_document(trace)) : trace_info_text(trace));
}

}  // namespace

void add_trace_info(CLI::App& trace) {
  auto options = std::make_shared<Options>();
  CLI::App* command = trace.add_subcommand("info", "Describe a trace and check every chunk of it");
  command->add_option("FILE", options->file, "The .rtrace file")->required();
  command->add_flag("--json", options->json, "Print one JSON document, schema retrosim.trace_info/1");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
