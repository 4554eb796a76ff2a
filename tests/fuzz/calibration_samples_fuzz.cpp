// Any bytes as a file of calibration samples: samples that are written and read back alike, or an InputError.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "calibrate/calibration_samples.h"
#include "model/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const retrosim::GraphSample sample = retrosim::parse_sample(text, "fuzz");
    if (!(sample.median_us() > 0)) std::abort();
    const std::string line = retrosim::to_json_line(sample);
    if (retrosim::to_json_line(retrosim::parse_sample(line, "written")) != line) std::abort();
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
  return 0;
}
