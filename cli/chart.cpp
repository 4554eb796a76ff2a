#include <memory>

#include "cli/command.h"
#include "reports/line_chart.h"
#include "reports/output_file.h"

namespace retrosim::cli {
namespace {

struct Options {
  ChartRequest request;
  std::string out;
};

void run(const Options& options) {
  require_writable(options.out, "--out");
  write_output_file(options.out, to_svg(chart_of_table(options.request)));
}

}  // namespace

void add_chart(CLI::App& app) {
  auto options = std::make_shared<Options>();
  ChartRequest& request = options->request;
  CLI::App* command = app.add_subcommand("chart", "Draw the columns of a table, such as a sweep's, as an SVG");
  command->add_option("TABLE", request.table, "CSV with a header line")->required();
  command->add_option("--x", request.x, "Column")->required();
  command->add_option("--y", request.y, "Column, or A/B: the ratio of two")->required();
  command->add_option("--by", request.by, "Columns: one line per combination of their values")->delimiter(',');
  command->add_option("--where", request.where, "COLUMN=VALUE of the rows to draw; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--relative-to", request.relative_to,
                      "COLUMN=VALUE of --by: draw ratios to that line at the same x");
  command->add_flag("--log-x", request.log_x, "Logarithmic horizontal axis");
  command->add_flag("--log-y", request.log_y, "Logarithmic vertical axis");
  command->add_option("--title", request.title, "Title");
  command->add_option("--out", options->out, "SVG to write")->required();
  command->callback([options] { run(*options); });
}

}  // namespace retrosim::cli
