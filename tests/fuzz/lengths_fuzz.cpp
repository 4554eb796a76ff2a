// Any text as a length distribution: draws within its limits and a text that says the same, or an InputError.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/error.h"
#include "sim/workload/lengths.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const retrosim::LengthDistribution lengths = retrosim::parse_length(text, "fuzz");
    for (std::uint64_t i = 0; i < 16; ++i) {
      retrosim::RandomStream random(1, retrosim::RandomPurpose::input_length, i);
      const std::int32_t tokens = lengths.draw(random);
      if (tokens < 1 || tokens < lengths.min || tokens > lengths.max) std::abort();
    }
    if (retrosim::parse_length(lengths.text(), "fuzz").text() != lengths.text()) std::abort();
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
  return 0;
}
