// Any bytes are either a safetensors file whose tensors can all be read, or refused with an InputError.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/checkpoint/safetensors.h"
#include "model/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const retrosim::Safetensors file(std::as_bytes(std::span(data, size)), "fuzz");
    for (const auto& [name, entry] : file.entries()) {
      std::vector<float> values;
      file.append_to(name, entry.shape, values);
      if (static_cast<std::int64_t>(values.size()) != entry.num_elements()) __builtin_trap();
    }
  } catch (const retrosim::InputError&) {
  }
  return 0;
}
