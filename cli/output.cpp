#include <cstdio>

#include "cli/command.h"
#include "model/error.h"

namespace retrosim::cli {

void print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) throw InputError("standard output: cannot be written");
}

void warn(std::string_view text) {
  std::fprintf(stderr, "retrosim: warning: %.*s\n", static_cast<int>(text.size()), text.data());
}

void progress(std::string_view text) {
  std::fprintf(stderr, "retrosim: %.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace retrosim::cli
