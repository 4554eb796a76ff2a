// Writes .rtrace files step by step.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/policy.h"
#include "traces/mass_scale.h"
#include "traces/trace_header.h"

namespace retrosim {

/// One KV head of one recorded layer at one step.
struct HeadRecord {
  std::span<const PageId> pages;  // [listed], descending score, no duplicates
  std::span<const float> mass;    // [listed], attention mass of each page: mean over the group's query heads, in [0, 1]
  float rest = 0;                 // attention mass of the pages not listed
};

struct StepRecord {
  std::int64_t position = 0;      // of the query, from 0
  std::int64_t num_pages = 0;     // position / page_size + 1
  std::vector<HeadRecord> heads;  // [recorded layers][KV heads]
};

struct TraceWriterOptions {
  std::int64_t steps_per_chunk = 128;
  int zstd_level = 1;  // higher levels find chance matches in the codes and make the file larger
};

/// Steps go to `<file>.partial`, each chunk flushed whole, so that a killed recorder leaves a trace that TraceReader
/// reads as cut off. close() ends the file and renames it; abort() removes it. Destroying an unclosed writer keeps the
/// partial file if it holds a whole chunk (hours of recording may be in it) and removes it otherwise.
class TraceWriter {
 public:
  /// Throws InputError when the file cannot be created.
  TraceWriter(const std::filesystem::path& file, const TraceHeader& header, const TraceWriterOptions& options = {});
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  /// Copies the steps; their spans need not outlive the call. Steps come in order: header.first_position
  /// first, then one by one. Throws std::invalid_argument for a step that contradicts the header (then none of them is
  /// added), InputError when the disk refuses. Many steps at once are checked and coded by several threads.
  void add_steps(std::span<const StepRecord> steps);
  void add_step(const StepRecord& step) { add_steps({&step, 1}); }
  void close();
  void abort();

  std::int64_t num_steps() const { return num_steps_ + pending_steps_; }

 private:
  void check(std::span<const StepRecord> steps) const;
  // As many of the steps as the pending chunk takes.
  std::size_t fitting(std::size_t steps) const;
  void append_columns(std::span<const StepRecord> steps);
  std::vector<std::uint8_t> packed_layer(std::size_t layer) const;
  void flush_chunk();
  void write(std::span<const std::uint8_t> bytes);

  struct FileCloser {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
  };
  // Columns of one (layer, head) of the pending chunk, step after step.
  struct Column {
    std::vector<PageId> pages;
    std::vector<std::uint8_t> mass;  // codes
    std::vector<float> rest;
  };

  std::filesystem::path file_;
  std::filesystem::path partial_;
  std::unique_ptr<std::FILE, FileCloser> stream_;
  TraceHeader header_;
  TraceWriterOptions options_;
  MassScale scale_;
  std::vector<Column> columns_;     // [recorded layers][KV heads]
  std::int64_t num_steps_ = 0;      // in flushed chunks
  std::int64_t pending_steps_ = 0;  // in the chunk being gathered
  std::uint32_t num_chunks_ = 0;
};

}  // namespace retrosim
