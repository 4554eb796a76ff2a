#include <memory>

#include "cli/command.h"
#include "reports/json_text.h"
#include "traces/compare_rankings.h"

namespace retrosim::cli {
namespace {

struct Options {
  std::string a;
  std::string b;
  double budget = 0.15;
  bool json = false;
};

void run(const Options& options) {
  const RankingComparison c = compare_rankings(TraceReader(options.a), TraceReader(options.b), options.budget);
  print(json_text(Json{{"schema", "retrosim.trace_compare/1"},
                       {"steps", c.steps},
                       {"lists", c.lists},
                       {"same_order", c.same_order},
                       {"same_ranks", c.same_ranks},
                       {"budget", options.budget},
                       {"top_k_overlap", c.top_k_overlap},
                       {"mass_difference", c.mass_difference}}));
}

}  // namespace

void add_trace_compare(CLI::App& trace) {
  auto options = std::make_shared<Options>();
  CLI::App* command = trace.add_subcommand("compare", "How alike two recordings of one text rank pages");
  command->add_option("first", options->a, "An .rtrace file")->required();
  command->add_option("second", options->b, "Another one")->required();
  command->add_option("--budget", options->budget, "Of the k best pages that are compared")->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON document (always so)");
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
