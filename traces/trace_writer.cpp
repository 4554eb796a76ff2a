#include "traces/trace_writer.h"

#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cmath>
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

void append_bytes(std::vector<std::uint8_t>& to, const void* data, std::size_t bytes) {
  const auto* begin = static_cast<const std::uint8_t*>(data);
  to.insert(to.end(), begin, begin + bytes);
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

void TraceWriter::check(const StepRecord& step) {
  const std::int64_t position = header_.first_position + num_steps();
  if (step.position != position) throw std::invalid_argument("steps must follow one another");
  if (position >= header_.num_tokens) throw std::invalid_argument("step beyond the header's num_tokens");
  if (step.num_pages != header_.num_pages(position)) throw std::invalid_argument("num_pages contradicts the position");
  if (step.heads.size() != columns_.size()) throw std::invalid_argument("heads must be [recorded layers][KV heads]");
  const auto listed = static_cast<std::size_t>(header_.listed_pages(position));
  seen_at_.resize(static_cast<std::size_t>(step.num_pages), 0);
  for (const HeadRecord& head : step.heads) {
    if (head.pages.size() != listed || head.mass.size() != listed) {
      throw std::invalid_argument("pages and mass must list min(top_m, num_pages) entries");
    }
    ++seen_stamp_;
    for (const PageId page : head.pages) {
      if (page >= step.num_pages || seen_at_[page] == seen_stamp_) {
        throw std::invalid_argument("pages must be distinct and below num_pages");
      }
      seen_at_[page] = seen_stamp_;
    }
    for (const float mass : head.mass) {
      if (!(mass >= 0.0F && mass <= 1.001F)) throw std::invalid_argument("attention mass must be in [0, 1]");
    }
    if (!(head.rest >= 0.0F && head.rest <= 1.001F)) throw std::invalid_argument("rest mass must be in [0, 1]");
  }
}

void TraceWriter::add_step(const StepRecord& step) {
  if (!stream_) throw std::logic_error("the trace is closed");
  check(step);
  if (pending_steps_ > 0 && block_raw_bytes(header_, num_steps_, pending_steps_ + 1) > kTargetBlockRawBytes)
    flush_chunk();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    Column& column = columns_[i];
    column.pages.insert(column.pages.end(), step.heads[i].pages.begin(), step.heads[i].pages.end());
    column.mass.insert(column.mass.end(), step.heads[i].mass.begin(), step.heads[i].mass.end());
    column.rest.push_back(step.heads[i].rest);
  }
  if (++pending_steps_ == options_.steps_per_chunk) flush_chunk();
}

void TraceWriter::flush_chunk() {
  if (pending_steps_ == 0) return;
  const auto heads = static_cast<std::size_t>(header_.num_kv_heads);
  const std::size_t layers = header_.recorded_layers.size();
  const auto entries = static_cast<std::size_t>(entries_per_head(header_, num_steps_, pending_steps_));
  const std::int64_t first_position = header_.first_position + num_steps_;
  const auto planes = static_cast<std::size_t>(page_code_bytes(header_.num_pages(first_position + pending_steps_ - 1)));
  const auto raw_bytes = static_cast<std::size_t>(block_raw_bytes(header_, num_steps_, pending_steps_));
  if (raw_bytes > kMaxBlockRawBytes) throw std::invalid_argument("one step of one layer exceeds 64 MiB");

  std::vector<std::uint8_t> head_of_chunk;
  append(head_of_chunk, kChunkMagic);
  append(head_of_chunk, static_cast<std::uint32_t>(pending_steps_));
  append(head_of_chunk, static_cast<std::uint64_t>(num_steps_));
  append(head_of_chunk, static_cast<std::uint32_t>(layers));
  append(head_of_chunk, std::uint32_t{0});

  std::vector<std::vector<std::uint8_t>> blocks(layers);  // compressed
  const int threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 16U));
  for_each_parallel(static_cast<int>(layers), threads, [&](int index) {
    const auto layer = static_cast<std::size_t>(index);
    std::vector<std::uint8_t> raw(raw_bytes);
    std::vector<std::uint32_t> page_codes;
    std::vector<std::uint8_t> mass_codes;
    RankCodec codec;
    std::uint8_t* rest = raw.data();
    std::uint8_t* shift = rest + heads * static_cast<std::size_t>(pending_steps_) * 4;
    std::uint8_t* plane = shift + heads * static_cast<std::size_t>(pending_steps_);
    std::uint8_t* mass = plane + heads * entries * planes;
    for (std::size_t head = 0; head < heads; ++head) {
      Column& column = columns_[layer * heads + head];
      std::memcpy(rest, column.rest.data(), column.rest.size() * 4);
      rest += column.rest.size() * 4;
      mass_codes.clear();
      for (const float of_page : column.mass) mass_codes.push_back(scale_.code_of(of_page));
      codec.reset();
      std::size_t at = 0;
      for (std::int64_t step = 0; step < pending_steps_; ++step) {
        const auto listed = static_cast<std::size_t>(header_.listed_pages(first_position + step));
        page_codes.resize(listed);
        *shift++ = codec.encode({column.pages.data() + at, listed}, {mass_codes.data() + at, listed},
                                header_.num_pages(first_position + step), page_codes, {mass + at, listed});
        for (std::size_t p = 0; p < planes; ++p) {
          for (std::size_t i = 0; i < listed; ++i) {
            plane[p * heads * entries + at + i] = static_cast<std::uint8_t>(page_codes[i] >> (8 * p));
          }
        }
        at += listed;
      }
      plane += entries;
      mass += entries;
      column = {};
    }
    std::vector<std::uint8_t>& compressed = blocks[layer];
    compressed.resize(ZSTD_compressBound(raw_bytes));
    const std::size_t bytes =
        ZSTD_compress(compressed.data(), compressed.size(), raw.data(), raw.size(), options_.zstd_level);
    if (ZSTD_isError(bytes)) throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(bytes));
    compressed.resize(bytes);
  });
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
