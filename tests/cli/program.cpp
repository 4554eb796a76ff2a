#include "tests/cli/program.h"

namespace retrosim::test {

const std::string& program() {
  static const std::string path = RETROSIM_PROGRAM;
  return path;
}

}  // namespace retrosim::test
