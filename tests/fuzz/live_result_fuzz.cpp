// Any bytes as a line of live results: a result that is written and read back alike, or an InputError.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "calibrate/live/live_result.h"
#include "model/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const retrosim::LiveResult result = retrosim::parse_live_result(text, "fuzz");
    const std::string line = retrosim::to_json_line(result);
    if (retrosim::to_json_line(retrosim::parse_live_result(line, "written")) != line) std::abort();
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
  return 0;
}
