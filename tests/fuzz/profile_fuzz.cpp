// Any bytes as a GPU profile or spec: one that survives writing and reading, or an InputError. What is accepted can be
// priced.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/error.h"
#include "model/gpu_profile.h"
#include "model/gpu_spec.h"
#include "model/pricing.h"

namespace {

void try_spec(std::string_view text) {
  try {
    const retrosim::GpuSpec spec = retrosim::parse_gpu_spec(text, "fuzz");
    if (!(retrosim::parse_gpu_spec(retrosim::to_json_text(spec), "again") == spec)) std::abort();
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
}

void try_profile(std::string_view text) {
  try {
    const retrosim::GpuProfile profile = retrosim::parse_gpu_profile(text, "fuzz");
    const std::string once = retrosim::to_json_text(profile);
    if (retrosim::to_json_text(retrosim::parse_gpu_profile(once, "again")) != once) std::abort();
    const retrosim::Pricer pricer(profile);
    const retrosim::Op op{.shape = retrosim::MatmulShape{.m = 1, .n = 4096, .k = 4096}};
    const retrosim::Price price = pricer.price(op);
    if (!std::isfinite(price.latency_s()) || price.latency_s() < 0) std::abort();
    if (!(price.hbm_share >= 0 && price.hbm_share <= 1)) std::abort();
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try_spec(text);
  try_profile(text);
  return 0;
}
