#include "traces/trace_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "model/error.h"
#include "traces/trace_layout.h"

namespace retrosim {

using namespace trace_layout;

HeadRanking LayerColumns::at(std::int64_t step, int head) const {
  const auto s = static_cast<std::size_t>(step);
  const auto h = static_cast<std::size_t>(head);
  const std::size_t begin = h * begin_.back() + begin_[s];
  const std::size_t count = begin_[s + 1] - begin_[s];
  const std::int64_t position = first_position_ + step;
  return {position,
          position / page_size_ + 1,
          {pages_.data() + begin, count},
          {mass_.data() + begin, count},
          rest_[h * (begin_.size() - 1) + s]};
}

TraceReader::TraceReader(const std::filesystem::path& file) : origin_(file.string()) {
  descriptor_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw InputError(origin_, "", std::strerror(errno), "a readable trace file");
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      throw InputError(origin_, "", "something that is not a regular file", "a trace file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
    open();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

TraceReader::TraceReader(std::span<const std::uint8_t> bytes, const std::string& origin)
    : origin_(origin), memory_(bytes), size_(bytes.size()) {
  open();
}

TraceReader::~TraceReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void TraceReader::fail(std::int64_t chunk, std::uint64_t offset, const std::string& value,
                       const std::string& expectation) const {
  throw InputError(origin_, "chunk " + std::to_string(chunk) + " at byte " + std::to_string(offset), value,
                   expectation);
}

void TraceReader::read_at(std::uint64_t offset, std::span<std::uint8_t> into) const {
  if (descriptor_ < 0) {
    std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return;
  }
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = ::pread(descriptor_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw InputError(origin_, "", got < 0 ? std::strerror(errno) : "a file that shrank", "a readable file");
    done += static_cast<std::size_t>(got);
  }
}

void TraceReader::open() {
  std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(size_, kPreambleBytes));
  read_at(0, bytes);
  const std::size_t magic_bytes = std::min(bytes.size(), kMagic.size());
  if (size_ == 0 || std::memcmp(bytes.data(), kMagic.data(), magic_bytes) != 0) {
    throw InputError(origin_, "magic", "other bytes", "an .rtrace file");
  }
  if (bytes.size() < kPreambleBytes) throw InputError(origin_, "header", "a cut-off file", "a whole header");
  const auto version = load<std::uint32_t>(&bytes[8]);
  if (version != kVersion) throw InputError(origin_, "version", std::to_string(version), std::to_string(kVersion));
  const auto json_bytes = load<std::uint32_t>(&bytes[12]);
  const auto checksum = load<std::uint64_t>(&bytes[16]);
  if (json_bytes > kMaxHeaderBytes) {
    throw InputError(origin_, "header", std::to_string(json_bytes) + " bytes", "at most 1 MiB");
  }
  if (kPreambleBytes + json_bytes > size_) throw InputError(origin_, "header", "a cut-off file", "a whole header");
  std::string json(json_bytes, '\0');
  read_at(kPreambleBytes, {reinterpret_cast<std::uint8_t*>(json.data()), json.size()});
  if (XXH3_64bits(json.data(), json.size()) != checksum) {
    throw InputError(origin_, "header", "bytes with another checksum", "the header that was written");
  }
  header_ = parse_trace_header(json, origin_);
  scan_chunks(kPreambleBytes + json_bytes);
}

void TraceReader::scan_chunks(std::uint64_t at) {
  const std::size_t layers = header_.recorded_layers.size();
  const std::size_t header_bytes = chunk_header_bytes(layers);
  std::vector<std::uint8_t> bytes;
  while (true) {
    const std::int64_t index = num_chunks();
    const std::uint64_t left = size_ - at;
    truncated_ = left < 4;
    if (truncated_) return;
    bytes.resize(std::min<std::uint64_t>(left, header_bytes));
    read_at(at, bytes);
    const auto magic = load<std::uint32_t>(bytes.data());
    if (magic == kEndMagic) {
      truncated_ = left < kEndBytes;
      if (truncated_) return;
      bytes.resize(kEndBytes);
      read_at(at, bytes);
      if (XXH3_64bits(bytes.data(), kEndBytes - 8) != load<std::uint64_t>(&bytes[kEndBytes - 8])) {
        fail(index, at, "an end mark with another checksum", "the end mark that was written");
      }
      if (load<std::uint32_t>(&bytes[4]) != chunks_.size() ||
          load<std::uint64_t>(&bytes[8]) != static_cast<std::uint64_t>(num_steps_)) {
        fail(index, at, "an end mark for another number of chunks or steps", std::to_string(index) + " chunks");
      }
      if (left != kEndBytes) fail(index, at, "bytes after the end mark", "the end of the file");
      return;
    }
    if (magic != kChunkMagic) fail(index, at, "neither a chunk nor the end mark", "an undamaged file");
    truncated_ = left < header_bytes;
    if (truncated_) return;
    if (XXH3_64bits(bytes.data(), header_bytes - 8) != load<std::uint64_t>(&bytes[header_bytes - 8])) {
      fail(index, at, "a chunk header with another checksum", "the chunk header that was written");
    }
    Chunk chunk;
    chunk.offset = at;
    chunk.num_steps = load<std::uint32_t>(&bytes[4]);
    const auto first_step = load<std::uint64_t>(&bytes[8]);
    chunk.first_step = num_steps_;
    if (chunk.num_steps < 1 || chunk.num_steps > kMaxChunkSteps ||
        first_step != static_cast<std::uint64_t>(num_steps_) || load<std::uint32_t>(&bytes[16]) != layers ||
        load<std::uint32_t>(&bytes[20]) != 0 ||
        header_.first_position + num_steps_ + chunk.num_steps > header_.num_tokens) {
      fail(index, at, "a chunk header that contradicts the trace's header", "consecutive steps of the recorded layers");
    }
    const auto raw_bytes = static_cast<std::uint64_t>(block_raw_bytes(header_, chunk.first_step, chunk.num_steps));
    std::uint64_t block_at = at + header_bytes;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const std::uint8_t* entry = &bytes[kChunkFixedBytes + layer * kBlockEntryBytes];
      const Chunk::Block block{block_at, load<std::uint32_t>(entry), load<std::uint32_t>(entry + 4),
                               load<std::uint64_t>(entry + 8)};
      if (block.raw_bytes != raw_bytes || raw_bytes > kMaxBlockRawBytes ||
          block.compressed_bytes > ZSTD_compressBound(raw_bytes)) {
        fail(index, at, std::to_string(block.raw_bytes) + " raw bytes in a block",
             std::to_string(raw_bytes) + " and at most 64 MiB");
      }
      block_at += block.compressed_bytes;
      chunk.blocks.push_back(block);
    }
    truncated_ = block_at > size_;
    if (truncated_) return;
    at = block_at;
    num_steps_ += chunk.num_steps;
    chunks_.push_back(std::move(chunk));
  }
}

std::int64_t TraceReader::chunk_of_step(std::int64_t step) const {
  const auto after = std::upper_bound(chunks_.begin(), chunks_.end(), step,
                                      [](std::int64_t s, const Chunk& chunk) { return s < chunk.first_step; });
  return after - chunks_.begin() - 1;
}

std::int64_t TraceReader::num_entries() const {
  return entries_per_head(header_, 0, num_steps_) * header_.num_kv_heads *
         static_cast<std::int64_t>(header_.recorded_layers.size());
}

void TraceReader::load_block(std::int64_t chunk_index, int slot, std::vector<std::uint8_t>& compressed) const {
  const Chunk::Block& block = chunk(chunk_index).blocks[static_cast<std::size_t>(slot)];
  compressed.resize(block.compressed_bytes);
  read_at(block.offset, compressed);
  if (XXH3_64bits(compressed.data(), compressed.size()) != block.checksum) {
    fail(chunk_index, block.offset, "bytes with another checksum", "the bytes that were written");
  }
}

void TraceReader::verify() const {
  std::vector<std::uint8_t> compressed;
  for (std::int64_t index = 0; index < num_chunks(); ++index) {
    for (int slot = 0; slot < static_cast<int>(header_.recorded_layers.size()); ++slot)
      load_block(index, slot, compressed);
  }
}

struct TraceReader::KeptLayers {
  std::mutex mutex;
  std::map<std::pair<std::int64_t, int>, std::unique_ptr<const LayerColumns>> layers;  // by chunk and slot
  std::size_t bytes = 0;
  std::size_t most_bytes = 0;
};

void TraceReader::keep_decoded(std::size_t bytes) {
  if (!kept_) kept_ = std::make_unique<KeptLayers>();
  kept_->most_bytes = bytes;
}

const LayerColumns& TraceReader::layer(std::int64_t chunk, int slot, LayerColumns& scratch) const {
  if (kept_) {
    const std::lock_guard lock(kept_->mutex);
    const auto found = kept_->layers.find({chunk, slot});
    if (found != kept_->layers.end()) return *found->second;
  }
  read_layer(chunk, slot, scratch);
  if (!kept_) return scratch;
  const std::size_t bytes = scratch.decoded_bytes();
  const std::lock_guard lock(kept_->mutex);
  if (kept_->bytes + bytes > kept_->most_bytes) return scratch;
  auto copy = std::make_unique<LayerColumns>();
  copy->first_step_ = scratch.first_step_;
  copy->first_position_ = scratch.first_position_;
  copy->page_size_ = scratch.page_size_;
  copy->num_kv_heads_ = scratch.num_kv_heads_;
  copy->begin_ = scratch.begin_;
  copy->pages_ = scratch.pages_;
  copy->mass_ = scratch.mass_;
  copy->rest_ = scratch.rest_;
  const auto [kept, fresh] = kept_->layers.try_emplace({chunk, slot}, std::move(copy));
  if (fresh) kept_->bytes += bytes;  // else another thread was faster
  return *kept->second;
}

void TraceReader::read_layer(std::int64_t chunk_index, int slot, LayerColumns& out) const {
  const Chunk& chunk = this->chunk(chunk_index);
  const Chunk::Block& block = chunk.blocks[static_cast<std::size_t>(slot)];
  load_block(chunk_index, slot, out.compressed_);
  if (ZSTD_getFrameContentSize(out.compressed_.data(), out.compressed_.size()) != block.raw_bytes) {
    fail(chunk_index, block.offset, "a zstd frame of another size", std::to_string(block.raw_bytes) + " bytes");
  }
  out.raw_.resize(block.raw_bytes);
  const std::size_t raw_bytes =
      ZSTD_decompress(out.raw_.data(), out.raw_.size(), out.compressed_.data(), out.compressed_.size());
  if (raw_bytes != block.raw_bytes) fail(chunk_index, block.offset, "a damaged zstd frame", "a whole one");

  const auto heads = static_cast<std::size_t>(header_.num_kv_heads);
  const auto steps = static_cast<std::size_t>(chunk.num_steps);
  out.first_step_ = chunk.first_step;
  out.first_position_ = header_.first_position + chunk.first_step;
  out.page_size_ = header_.page_size;
  out.num_kv_heads_ = header_.num_kv_heads;
  out.begin_.assign(1, 0);
  for (std::size_t step = 0; step < steps; ++step) {
    const auto listed = header_.listed_pages(out.first_position_ + static_cast<std::int64_t>(step));
    out.begin_.push_back(out.begin_.back() + static_cast<std::size_t>(listed));
  }
  const std::size_t entries = heads * out.begin_.back();
  out.pages_.resize(entries);
  out.mass_.resize(entries);
  out.mass_codes_.resize(entries);
  out.rest_.resize(heads * steps);
  std::memcpy(out.rest_.data(), out.raw_.data(), out.rest_.size() * 4);
  for (const float rest : out.rest_) {
    if (!(rest >= 0.0F && rest <= 1.001F)) fail(chunk_index, block.offset, "a rest mass outside [0, 1]", "a mass");
  }

  const MassScale scale(header_.mass_scale);
  const std::uint8_t* shifts = out.raw_.data() + out.rest_.size() * 4;
  const std::uint8_t* planes = shifts + out.rest_.size();
  const int plane_count = page_code_bytes(header_.num_pages(out.first_position_ + chunk.num_steps - 1));
  const std::uint8_t* mass_codes = planes + static_cast<std::size_t>(plane_count) * entries;
  for (std::size_t head = 0; head < heads; ++head) {
    out.codec_.reset();
    for (std::size_t step = 0; step < steps; ++step) {
      const std::size_t at = head * out.begin_.back() + out.begin_[step];
      const std::size_t listed = out.begin_[step + 1] - out.begin_[step];
      out.page_codes_.assign(planes + at, planes + at + listed);
      for (int p = 1; p < plane_count; ++p) {
        const std::uint8_t* plane = planes + static_cast<std::size_t>(p) * entries + at;
        for (std::size_t i = 0; i < listed; ++i) out.page_codes_[i] |= static_cast<std::uint32_t>(plane[i]) << (8 * p);
      }
      const std::int64_t num_pages = header_.num_pages(out.first_position_ + static_cast<std::int64_t>(step));
      if (!out.codec_.decode(out.page_codes_, {mass_codes + at, listed}, shifts[head * steps + step], num_pages,
                             {out.pages_.data() + at, listed}, {out.mass_codes_.data() + at, listed})) {
        fail(chunk_index, block.offset, "page codes that are no ranking", "every page at most once");
      }
    }
  }
  for (std::size_t i = 0; i < entries; ++i) out.mass_[i] = scale.mass_of(out.mass_codes_[i]);
}

}  // namespace retrosim
