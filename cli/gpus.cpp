#include <memory>

#include "cli/command.h"
#include "reports/listing.h"

namespace retrosim::cli {

void add_gpus(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("gpus", "List the bundled GPUs");
  command->add_flag("--json", *json, "Print one JSON document, schema retrosim.gpus/1");
  command->callback([json] { print(*json ? json_text(gpus_json()) : gpus_table().to_text()); });
}

}  // namespace retrosim::cli
