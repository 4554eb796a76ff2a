// Arbitrary bytes as an .rtrace file: InputError or a trace whose every layer can be decoded, nothing else. Random
// bytes rarely pass a checksum, so each input is also tried with all its checksums repaired.
#include <xxhash.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "model/error.h"
#include "model/policy.h"
#include "traces/statistics_json.h"
#include "traces/trace_layout.h"
#include "traces/trace_reader.h"

namespace {

using namespace retrosim;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::int64_t kMostWork = 1 << 17;

/// Pages of the context, listed or not, over steps, heads and layers: a reader keeps something for each.
std::int64_t work_of(const TraceReader& trace) {
  const TraceHeader& header = trace.header();
  const auto lists =
      static_cast<std::int64_t>(header.recorded_layers.size()) * std::int64_t{header.num_kv_heads} * trace.num_steps();
  return lists * header.num_pages(header.first_position + trace.num_steps());
}

void read_whole(std::span<const std::uint8_t> bytes) {
  try {
    const TraceReader trace(bytes, "fuzz");
    const TraceHeader& header = trace.header();
    require(parse_trace_header(to_json(header).dump(), "fuzz") == header);
    if (work_of(trace) > kMostWork) return;  // legal, but slow
    LayerColumns columns;
    std::vector<std::uint8_t> seen;
    for (std::int64_t chunk = 0; chunk < trace.num_chunks(); ++chunk) {
      for (std::size_t slot = 0; slot < header.recorded_layers.size(); ++slot) {
        trace.read_layer(chunk, static_cast<int>(slot), columns);
        for (int head = 0; head < header.num_kv_heads; ++head) {
          for (std::int64_t step = 0; step < columns.num_steps(); ++step) {
            const HeadRanking ranking = columns.at(step, head);
            seen.assign(static_cast<std::size_t>(ranking.num_pages), 0);
            for (const PageId page : ranking.pages) {
              require(page < seen.size() && seen[page] == 0);
              seen[page] = 1;
            }
            for (const float mass : ranking.mass) require(mass >= 0 && mass <= 1);
          }
        }
      }
    }
    trace_statistics(trace, {.policy = make_policy("quest", {.budget = 0.3}), .windows = {1, 3}});
    trace_info_json(trace);
  } catch (const InputError&) {
  }
}

/// Makes the checksums of header, chunk headers, blocks and end mark those of their bytes, as far as the structure
/// goes.
void repair_checksums(std::vector<std::uint8_t>& bytes) {
  using namespace trace_layout;
  auto stamp = [&](std::size_t at, std::size_t begin, std::size_t count) {
    const std::uint64_t sum = XXH3_64bits(bytes.data() + begin, count);
    std::memcpy(bytes.data() + at, &sum, 8);
  };
  if (bytes.size() < kPreambleBytes) return;
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  std::memcpy(bytes.data() + 8, &kVersion, 4);
  const std::size_t json_bytes = load<std::uint32_t>(&bytes[12]);
  if (json_bytes > bytes.size() - kPreambleBytes) return;
  stamp(16, kPreambleBytes, json_bytes);
  std::size_t at = kPreambleBytes + json_bytes;
  while (bytes.size() - at >= kEndBytes) {
    if (load<std::uint32_t>(&bytes[at]) != kChunkMagic) {
      stamp(at + kEndBytes - 8, at, kEndBytes - 8);
      return;
    }
    const std::size_t layers = load<std::uint32_t>(&bytes[at + 16]);
    if (layers > 1024 || bytes.size() - at < chunk_header_bytes(layers)) return;
    std::size_t block = at + chunk_header_bytes(layers);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const std::size_t entry = at + kChunkFixedBytes + layer * kBlockEntryBytes;
      const std::size_t count = load<std::uint32_t>(&bytes[entry]);
      if (count > bytes.size() - block) break;
      stamp(entry + 8, block, count);
      block += count;
    }
    stamp(at + chunk_header_bytes(layers) - 8, at, chunk_header_bytes(layers) - 8);
    at = block;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  read_whole({data, size});
  std::vector<std::uint8_t> repaired(data, data + size);
  repair_checksums(repaired);
  read_whole(repaired);
  return 0;
}
