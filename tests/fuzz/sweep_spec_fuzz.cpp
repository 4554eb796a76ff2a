// Any bytes as a sweep specification: points with values within their axes, or an InputError.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "model/error.h"
#include "reports/sweep_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<retrosim::SweepSpec> spec;
  try {
    spec = retrosim::parse_sweep_spec(text, "fuzz");
  } catch (const retrosim::InputError&) {
    return 0;  // refused, as it should be
  }
  const std::uint64_t last = spec->design.size() - 1;
  for (const std::uint64_t point : {std::uint64_t{0}, last / 2, last}) {
    retrosim::ServingRequest request = spec->base;
    const std::vector<nlohmann::json> values = spec->values_at(point);
    if (values.size() != spec->axes.size()) std::abort();
    // Every value was found to be within its field's range when the document was read: this must not throw.
    for (std::size_t i = 0; i < values.size(); ++i) spec->axes[i].field->set(request, values[i]);
  }
  return 0;
}
