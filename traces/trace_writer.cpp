#include "traces/trace_writer.h"

#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "model/error.h"
#include "traces/mass_scale.h"
#include "traces/parallel.h"
#include "traces/rank_codec.h"
#include "traces/trace_layout.h"

namespace retrosim {

using namespace trace_layout;

namespace {

constexpr std::int64_t kTargetBlockRawBytes = 16 << 20;  // a chunk ends early rather than grow beyond
constexpr std::size_t kStepsWorthThreads = 8;

void append_bytes(std::vector<std::uint8_t>& to, const void* data, std::size_t bytes) {
  const auto* begin = static_cast<const std::uint8_t*>(data);
  to.insert(to.end(), begin, begin + bytes);
}

int most_threads() { return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 16U)); }

// A step or two are not worth a thread's start.
int threads_for(std::span<const StepRecord> steps) { return steps.size() >= kStepsWorthThreads ? most_threads() : 1; }

// seen: scratch.
void check_head(const HeadRecord& head, std::int64_t listed, std::int64_t num_pages, std::vector<std::uint8_t>& seen) {
  if (std::ssize(head.pages) != listed || std::ssize(head.mass) != listed) {
    throw std::invalid_argument("pages and mass must list min(top_m, num_pages) entries");
  }
  seen.assign(static_cast<std::size_t>(num_pages), 0);
  for (const PageId page : head.pages) {
    if (page >= num_pages || seen[page] != 0) {
      throw std::invalid_argument("pages must be distinct and below num_pages");
    }
    seen[page] = 1;
  }
  for (const float mass : head.mass) {
    if (!(mass >= 0.0F && mass <= 1.001F)) throw std::invalid_argument("attention mass must be in [0, 1]");
  }
  if (!(head.rest >= 0.0F && head.rest <= 1.001F)) throw std::invalid_argument("rest mass must be in [0, 1]");
}

}  // namespace

TraceWriter::TraceWriter(const std::filesystem::path& file, const TraceHeader& header,
                         const TraceWriterOptions& options)
    : file_(file), partial_(file.string() + ".partial"), header_(header), options_(options), scale_(header.mass_scale) {
  const std::string json = to_json(header).dump();
  parse_trace_header(json, file.string());  // what we write must read back
  if (options.steps_per_chunk < 1 || options.steps_per_chunk > kMaxChunkSteps) {
    throw std::invalid_argument("steps_per_chunk must be in [1, 65536]");
  }
  columns_.resize(header.recorded_layers.size() * static_cast<std::size_t>(header.num_kv_heads));
  stream_.reset(std::fopen(partial_.c_str(), "wb"));
  if (!stream_) throw InputError(partial_.string(), "", "", "a file that can be created");
  std::vector<std::uint8_t> preamble;
  append_bytes(preamble, kMagic.data(), kMagic.size());
  append(preamble, kVersion);
  append(preamble, static_cast<std::uint32_t>(json.size()));
  append(preamble, static_cast<std::uint64_t>(XXH3_64bits(json.data(), json.size())));
  append_bytes(preamble, json.data(), json.size());
  write(preamble);
}

TraceWriter::~TraceWriter() {
  if (!stream_) return;
  stream_.reset();
  std::error_code ignored;
  if (num_chunks_ == 0) std::filesystem::remove(partial_, ignored);
}

void TraceWriter::write(std::span<const std::uint8_t> bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stream_.get()) != bytes.size() || std::fflush(stream_.get()) != 0) {
    throw InputError(partial_.string(), "", "", "a file that can be written (is the disk full?)");
  }
}

void TraceWriter::check(std::span<const StepRecord> steps) const {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::int64_t position = header_.first_position + num_steps() + static_cast<std::int64_t>(i);
    const StepRecord& step = steps[i];
    if (step.position != position) throw std::invalid_argument("steps must follow one another");
    if (position >= header_.num_tokens) throw std::invalid_argument("step beyond the header's num_tokens");
    if (step.num_pages != header_.num_pages(position)) {
      throw std::invalid_argument("num_pages contradicts the position");
    }
    if (step.heads.size() != columns_.size()) throw std::invalid_argument("heads must be [recorded layers][KV heads]");
  }
  for_each_parallel(static_cast<int>(columns_.size()), threads_for(steps), [&](int column) {
    std::vector<std::uint8_t> seen;
    for (const StepRecord& step : steps) {
      check_head(step.heads[static_cast<std::size_t>(column)], header_.listed_pages(step.position), step.num_pages,
                 seen);
    }
  });
}

std::size_t TraceWriter::fitting(std::size_t steps) const {
  std::int64_t count = 1;
  while (count < static_cast<std::int64_t>(steps) && pending_steps_ + count < options_.steps_per_chunk &&
         block_raw_bytes(header_, num_steps_, pending_steps_ + count + 1) <= kTargetBlockRawBytes) {
    ++count;
  }
  return static_cast<std::size_t>(count);
}

void TraceWriter::append_columns(std::span<const StepRecord> steps) {
  for_each_parallel(static_cast<int>(columns_.size()), threads_for(steps), [&](int index) {
    Column& column = columns_[static_cast<std::size_t>(index)];
    for (const StepRecord& step : steps) {
      const HeadRecord& head = step.heads[static_cast<std::size_t>(index)];
      column.pages.insert(column.pages.end(), head.pages.begin(), head.pages.end());
      for (const float mass : head.mass) column.mass.push_back(scale_.code_of(mass));
      column.rest.push_back(head.rest);
    }
  });
}

void TraceWriter::add_steps(std::span<const StepRecord> steps) {
  if (!stream_) throw std::logic_error("the trace is closed");
  check(steps);
  while (!steps.empty()) {
    if (pending_steps_ > 0 && block_raw_bytes(header_, num_steps_, pending_steps_ + 1) > kTargetBlockRawBytes) {
      flush_chunk();
    }
    const std::size_t count = fitting(steps.size());
    append_columns(steps.first(count));
    steps = steps.subspan(count);
    pending_steps_ += static_cast<std::int64_t>(count);
    if (pending_steps_ == options_.steps_per_chunk) flush_chunk();
  }
}

// The pending chunk's columns of one layer, coded and compressed.
std::vector<std::uint8_t> TraceWriter::packed_layer(std::size_t layer) const {
  const auto heads = static_cast<std::size_t>(header_.num_kv_heads);
  const auto entries = static_cast<std::size_t>(entries_per_head(header_, num_steps_, pending_steps_));
  const std::int64_t first_position = header_.first_position + num_steps_;
  const auto planes = static_cast<std::size_t>(page_code_bytes(header_.num_pages(first_position + pending_steps_ - 1)));
  const auto raw_bytes = static_cast<std::size_t>(block_raw_bytes(header_, num_steps_, pending_steps_));
  const auto raw = std::make_unique_for_overwrite<std::uint8_t[]>(raw_bytes);
  std::vector<std::uint32_t> page_codes;
  RankCodec codec;
  std::uint8_t* rest = raw.get();
  std::uint8_t* shift = rest + heads * static_cast<std::size_t>(pending_steps_) * 4;
  std::uint8_t* plane = shift + heads * static_cast<std::size_t>(pending_steps_);
  std::uint8_t* mass = plane + heads * entries * planes;
  for (std::size_t head = 0; head < heads; ++head) {
    const Column& column = columns_[layer * heads + head];
    std::memcpy(rest, column.rest.data(), column.rest.size() * 4);
    rest += column.rest.size() * 4;
    codec.reset();
    std::size_t at = 0;
    for (std::int64_t step = 0; step < pending_steps_; ++step) {
      const auto listed = static_cast<std::size_t>(header_.listed_pages(first_position + step));
      page_codes.resize(listed);
      *shift++ = codec.encode({column.pages.data() + at, listed}, {column.mass.data() + at, listed},
                              header_.num_pages(first_position + step), page_codes, {mass + at, listed});
      for (std::size_t p = 0; p < planes; ++p) {
        std::uint8_t* to = plane + p * heads * entries + at;
        for (std::size_t i = 0; i < listed; ++i) to[i] = static_cast<std::uint8_t>(page_codes[i] >> (8 * p));
      }
      at += listed;
    }
    plane += entries;
    mass += entries;
  }
  const std::size_t bound = ZSTD_compressBound(raw_bytes);
  const auto compressed = std::make_unique_for_overwrite<std::uint8_t[]>(bound);
  const std::size_t bytes = ZSTD_compress(compressed.get(), bound, raw.get(), raw_bytes, options_.zstd_level);
  if (ZSTD_isError(bytes)) throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(bytes));
  return {compressed.get(), compressed.get() + bytes};
}

void TraceWriter::flush_chunk() {
  if (pending_steps_ == 0) return;
  const std::size_t layers = header_.recorded_layers.size();
  const std::int64_t raw_bytes = block_raw_bytes(header_, num_steps_, pending_steps_);
  if (raw_bytes > static_cast<std::int64_t>(kMaxBlockRawBytes)) {
    throw std::invalid_argument("one step of one layer exceeds 64 MiB");
  }
  std::vector<std::uint8_t> head_of_chunk;
  append(head_of_chunk, kChunkMagic);
  append(head_of_chunk, static_cast<std::uint32_t>(pending_steps_));
  append(head_of_chunk, static_cast<std::uint64_t>(num_steps_));
  append(head_of_chunk, static_cast<std::uint32_t>(layers));
  append(head_of_chunk, std::uint32_t{0});

  std::vector<std::vector<std::uint8_t>> blocks(layers);  // compressed
  for_each_parallel(static_cast<int>(layers), most_threads(), [&](int layer) {
    blocks[static_cast<std::size_t>(layer)] = packed_layer(static_cast<std::size_t>(layer));
  });
  for (Column& column : columns_) {  // keeps their memory for the next chunk
    column.pages.clear();
    column.mass.clear();
    column.rest.clear();
  }
  std::vector<std::uint8_t> payload;
  for (const std::vector<std::uint8_t>& block : blocks) {
    append(head_of_chunk, static_cast<std::uint32_t>(block.size()));
    append(head_of_chunk, static_cast<std::uint32_t>(raw_bytes));
    append(head_of_chunk, static_cast<std::uint64_t>(XXH3_64bits(block.data(), block.size())));
    append_bytes(payload, block.data(), block.size());
  }
  append(head_of_chunk, static_cast<std::uint64_t>(XXH3_64bits(head_of_chunk.data(), head_of_chunk.size())));
  write(head_of_chunk);
  write(payload);
  num_steps_ += pending_steps_;
  pending_steps_ = 0;
  ++num_chunks_;
}

void TraceWriter::close() {
  if (!stream_) throw std::logic_error("the trace is closed");
  flush_chunk();
  std::vector<std::uint8_t> end;
  append(end, kEndMagic);
  append(end, num_chunks_);
  append(end, static_cast<std::uint64_t>(num_steps_));
  append(end, static_cast<std::uint64_t>(XXH3_64bits(end.data(), end.size())));
  write(end);
  if (std::fclose(stream_.release()) != 0) throw InputError(partial_.string(), "", "", "a file that can be written");
  std::error_code error;
  std::filesystem::rename(partial_, file_, error);
  if (error) throw InputError(file_.string(), "", error.message(), "a path that the finished trace can be renamed to");
}

void TraceWriter::abort() {
  if (!stream_) return;
  stream_.reset();
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

}  // namespace retrosim
