// The bytes of an .rtrace file, shared by writer and reader; FORMAT.md describes them for everybody else.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "traces/trace_header.h"

namespace retrosim::trace_layout {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie in memory");

inline constexpr std::string_view kMagic{"\x89RTRACE\n", 8};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kChunkMagic = 0x4B4E4843;  // "CHNK"
inline constexpr std::uint32_t kEndMagic = 0x53444E45;    // "ENDS"

inline constexpr std::size_t kPreambleBytes = 24;    // magic, u32 version, u32 header bytes, u64 xxh3 of the header
inline constexpr std::size_t kChunkFixedBytes = 24;  // u32 magic, u32 steps, u64 first step, u32 layers, u32 zero
inline constexpr std::size_t kBlockEntryBytes = 16;  // u32 compressed bytes, u32 raw bytes, u64 xxh3 of the compressed
inline constexpr std::size_t kEndBytes = 24;         // u32 magic, u32 chunks, u64 steps, u64 xxh3 of the 16 before it

inline constexpr std::size_t kMaxHeaderBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxBlockRawBytes = std::size_t{64} << 20;
inline constexpr std::int64_t kMaxChunkSteps = 65536;

constexpr std::size_t chunk_header_bytes(std::size_t layers) {
  return kChunkFixedBytes + layers * kBlockEntryBytes + 8;
}

/// Bytes of one page code in a chunk whose last step has `num_pages` pages: codes are below that.
constexpr int page_code_bytes(std::int64_t num_pages) { return num_pages <= 256 ? 1 : num_pages <= 65536 ? 2 : 3; }

/// Ranked entries of one KV head over steps [first, first + count) of the trace.
inline std::int64_t entries_per_head(const TraceHeader& header, std::int64_t first, std::int64_t count) {
  std::int64_t entries = 0;
  for (std::int64_t step = first; step < first + count; ++step)
    entries += header.listed_pages(header.first_position + step);
  return entries;
}

/// Bytes of one layer's columns before compression: rest masses, mass shifts, planes of page codes, mass codes.
inline std::int64_t block_raw_bytes(const TraceHeader& header, std::int64_t first, std::int64_t count) {
  const int planes = page_code_bytes(header.num_pages(header.first_position + first + count - 1));
  return header.num_kv_heads * (count * std::int64_t{5} + entries_per_head(header, first, count) * (planes + 1));
}

template <typename T>
T load(const std::uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <typename T>
void append(std::vector<std::uint8_t>& bytes, T value) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace retrosim::trace_layout
