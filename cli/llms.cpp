#include <memory>

#include "cli/command.h"
#include "reports/listing.h"

namespace retrosim::cli {

void add_llms(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("llms", "List the bundled models");
  command->add_flag("--json", *json, "Print one JSON document, schema retrosim.llms/1");
  command->callback([json] { print(*json ? json_text(llms_json()) : llms_table().to_text()); });
}

}  // namespace retrosim::cli
