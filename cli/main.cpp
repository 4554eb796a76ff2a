// retrosim: what decoding with a sparse KV cache costs. Exit codes: 0 done, 1 infeasible, 2 bad usage or input.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "cli/command.h"
#include "model/error.h"

namespace {

constexpr int kInfeasible = 1;
constexpr int kBadInput = 2;

/// One line on stderr, whatever the message holds.
int complain(std::string message, int exit_code) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "retrosim: %s\n", message.c_str());
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("What decoding with a sparse KV cache costs: predicted from recorded attention traces.", "retrosim");
  app.set_version_flag("--version", std::string("retrosim ") + RETROSIM_VERSION);
  app.require_subcommand(0, 1);  // so that an unknown one is named in the error
  app.failure_message(CLI::FailureMessage::simple);
  retrosim::cli::add_simulate(app);
  retrosim::cli::add_report(app);
  retrosim::cli::add_compare(app);
  retrosim::cli::add_serve(app);
  retrosim::cli::add_validate(app);
  retrosim::cli::add_plan(app);
  retrosim::cli::add_sweep(app);
  retrosim::cli::add_chart(app);
  retrosim::cli::add_trace(app);
  retrosim::cli::add_fidelity(app);
  retrosim::cli::add_calibrate(app);
  retrosim::cli::add_live(app);
  retrosim::cli::add_gpus(app);
  retrosim::cli::add_llms(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) return complain("expected a subcommand; see retrosim --help", kBadInput);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return complain(error.what(), kBadInput);
  } catch (const retrosim::InputError& error) {
    return complain(error.what(), kBadInput);
  } catch (const retrosim::InfeasibleError& error) {
    return complain(error.what(), kInfeasible);
  } catch (const std::bad_alloc&) {
    return complain("not enough memory for this request", kBadInput);
  }
}
