// Reads .rtrace files: whole, cut off, and - layer by layer - without loading what nobody asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/policy.h"
#include "traces/mass_scale.h"
#include "traces/rank_codec.h"
#include "traces/trace_header.h"

namespace retrosim {

/// One KV head at one step, as decoded.
struct HeadRanking {
  std::int64_t position = 0;      // of the query, from 0
  std::int64_t num_pages = 0;     // of the context; the last one is being filled
  std::span<const PageId> pages;  // [listed], descending score
  std::span<const float> mass;    // [listed]
  float rest = 0;                 // mass of the pages not listed
  RankedPages ranked() const { return {.pages = pages, .num_pages = num_pages, .mass = mass, .position = position}; }
};

/// One recorded layer of one chunk, decoded. Reuse the object from chunk to chunk: its memory is kept.
class LayerColumns {
 public:
  std::int64_t first_step() const { return first_step_; }
  std::int64_t num_steps() const { return static_cast<std::int64_t>(begin_.size()) - 1; }
  int num_kv_heads() const { return num_kv_heads_; }
  /// `step` counts from 0 within the chunk. The spans are valid until the next read into this object.
  HeadRanking at(std::int64_t step, int head) const;

 private:
  friend class TraceReader;
  std::size_t decoded_bytes() const {
    return pages_.size() * sizeof(PageId) + (mass_.size() + rest_.size()) * sizeof(float) +
           begin_.size() * sizeof(std::size_t);
  }

  std::int64_t first_step_ = 0;
  std::int64_t first_position_ = 0;  // of first_step_
  int page_size_ = 0;
  int num_kv_heads_ = 0;
  std::vector<std::size_t> begin_{0};  // [num_steps + 1], offset of each step's entries within a head
  std::vector<PageId> pages_;          // [num_kv_heads][entries]
  std::vector<float> mass_;            // [num_kv_heads][entries]
  std::vector<float> rest_;            // [num_kv_heads][num_steps]
  // Scratch of TraceReader::read_layer.
  std::vector<std::uint8_t> compressed_;
  std::vector<std::uint8_t> raw_;
  std::vector<std::uint8_t> mass_codes_;
  std::vector<std::uint32_t> page_codes_;
  RankCodec codec_;
};

class TraceReader {
 public:
  struct Chunk {
    std::int64_t first_step = 0;
    std::int64_t num_steps = 0;
    std::uint64_t offset = 0;  // of the chunk in the file
    struct Block {
      std::uint64_t offset = 0;  // in the file
      std::uint32_t compressed_bytes = 0;
      std::uint32_t raw_bytes = 0;
      std::uint64_t checksum = 0;
    };
    std::vector<Block> blocks;  // [recorded layers]
  };

  /// Reads the header and every chunk's header, not the chunks' contents. Throws InputError naming file, chunk and
  /// offset for anything but a trace or a trace's beginning.
  explicit TraceReader(const std::filesystem::path& file);
  /// The same over bytes in memory, which must outlive the reader; `origin` names them in errors.
  TraceReader(std::span<const std::uint8_t> bytes, const std::string& origin);
  ~TraceReader();
  TraceReader(const TraceReader&) = delete;
  TraceReader& operator=(const TraceReader&) = delete;

  const TraceHeader& header() const { return header_; }
  const std::string& origin() const { return origin_; }
  std::int64_t num_steps() const { return num_steps_; }
  std::int64_t num_chunks() const { return static_cast<std::int64_t>(chunks_.size()); }
  const Chunk& chunk(std::int64_t index) const { return chunks_[static_cast<std::size_t>(index)]; }
  /// The chunk that holds `step`, in [0, num_steps).
  std::int64_t chunk_of_step(std::int64_t step) const;
  std::uint64_t file_bytes() const { return size_; }
  /// Ranked entries (a page and its mass) over all steps, layers and heads.
  std::int64_t num_entries() const;
  /// True when the file does not end as a closed trace does; its whole chunks are here.
  bool truncated() const { return truncated_; }

  /// Decodes recorded_layers[slot] of one chunk. Safe to call from several threads with different `out`.
  /// Throws InputError when the block's bytes are not those that were written.
  void read_layer(std::int64_t chunk, int slot, LayerColumns& out) const;

  /// From now on decoded layers are kept, up to `bytes` of them, for those who replay the same steps again and again.
  /// Not to be called while others read.
  void keep_decoded(std::size_t bytes);
  /// Like read_layer, decoding nothing where the layer was kept. The reference is valid until the next read into
  /// `scratch`.
  const LayerColumns& layer(std::int64_t chunk, int slot, LayerColumns& scratch) const;

  /// Compares every block with its checksum. Throws InputError for the first that differs.
  void verify() const;

 private:
  void open();
  void scan_chunks(std::uint64_t at);  // from the first chunk's offset
  void read_at(std::uint64_t offset, std::span<std::uint8_t> into) const;
  void load_block(std::int64_t chunk, int slot, std::vector<std::uint8_t>& compressed) const;
  [[noreturn]] void fail(std::int64_t chunk, std::uint64_t offset, const std::string& value,
                         const std::string& expectation) const;

  std::string origin_;
  int descriptor_ = -1;  // or memory_
  std::span<const std::uint8_t> memory_;
  std::uint64_t size_ = 0;
  TraceHeader header_;
  std::vector<Chunk> chunks_;
  std::int64_t num_steps_ = 0;
  bool truncated_ = false;
  struct KeptLayers;
  std::unique_ptr<KeptLayers> kept_;  // null: none
};

}  // namespace retrosim
