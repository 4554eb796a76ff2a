// Any bytes as a request trace: requests in order within their limits, or an InputError.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/error.h"
#include "sim/workload/trace_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const retrosim::Workload workload = retrosim::parse_workload(text, "fuzz");
    if (workload.requests.empty() || workload.requests.front().arrival != 0) std::abort();
    retrosim::TimePs last = 0;
    for (const retrosim::Request& request : workload.requests) {
      if (request.arrival < last || request.input_tokens < 1 || request.output_tokens < 1) std::abort();
      last = request.arrival;
      // Every block that is named lies in the prompt, the last one perhaps in part.
      const std::int64_t blocks = request.num_hashes;
      if (blocks > 0 && (blocks - 1) * retrosim::Workload::kHashedBlockTokens >= request.input_tokens) std::abort();
      if (request.first_hash + blocks > static_cast<std::int64_t>(workload.hash_ids.size())) std::abort();
    }
  } catch (const retrosim::InputError&) {
    // Refused, as it should be.
  }
  return 0;
}
