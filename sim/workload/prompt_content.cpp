#include "sim/workload/prompt_content.h"

#include <algorithm>
#include <limits>

namespace retrosim {
namespace {

constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kShared = 1ULL << 63;
constexpr std::uint64_t kSession = 1ULL << 62;
constexpr std::uint64_t kOwn = 1ULL << 61;  // hash_ids are below

/// Finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

PromptContent::Stretch PromptContent::stretch_at(std::uint32_t index, std::int64_t token) const {
  const Request& request = workload_.requests[index];
  if (request.session >= 0) {
    const std::int64_t shared = workload_.shared_prefix_tokens;
    if (token < shared) return {kShared, 0, shared};
    return {kSession | static_cast<std::uint64_t>(request.session), shared, kEndless};
  }
  const std::int64_t block = token / Workload::kHashedBlockTokens;
  const std::int64_t hashed =
      std::min<std::int64_t>(request.num_hashes * Workload::kHashedBlockTokens, request.input_tokens);
  if (token < hashed) {
    return {workload_.hash_ids[request.first_hash + static_cast<std::size_t>(block)],
            block * Workload::kHashedBlockTokens, std::min((block + 1) * Workload::kHashedBlockTokens, hashed)};
  }
  return {kOwn | index, hashed, kEndless};
}

std::uint64_t PromptContent::chain(std::uint64_t prefix, std::uint32_t request, std::int64_t first,
                                   std::int64_t count) const {
  std::uint64_t hash = prefix;
  for (std::int64_t token = first; token < first + count;) {
    const Stretch stretch = stretch_at(request, token);
    const std::int64_t end = std::min(first + count, stretch.end);
    hash = mix(hash ^ mix(stretch.id));
    hash = mix(hash ^ static_cast<std::uint64_t>(token - stretch.begin));
    hash = mix(hash ^ static_cast<std::uint64_t>(end - token));
    token = end;
  }
  return hash;
}

}  // namespace retrosim
