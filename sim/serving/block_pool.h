// The KV blocks of one replica under prefix caching.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace retrosim {

/// As vLLM v1's BlockPool (vllm/v1/core/block_pool.py) keeps them. A block is held by one or more sequences, or it is
/// in the queue of free blocks; a full block has its content's hash. Free blocks keep their hash, so that a later
/// prompt can take them up again, until they come to the head of the queue and are needed for something else: least
/// recently used first, and of one sequence the tail first. Equal blocks are not merged; the one that was full first is
/// found.
class BlockPool {
 public:
  using Block = std::int32_t;
  static constexpr Block kNone = -1;

  explicit BlockPool(std::int64_t num_blocks);

  std::int64_t total() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t free() const { return free_; }
  /// Free blocks that hold a known content.
  std::int64_t cached() const { return cached_; }
  /// Contents that had to go so far.
  std::int64_t evictions() const { return evictions_; }

  /// The block with this content; kNone: there is none.
  Block find(std::uint64_t hash) const;
  bool is_free(Block block) const { return blocks_[static_cast<std::size_t>(block)].holders == 0; }
  /// One more sequence holds a block that find() gave.
  void hold(Block block);
  /// A block from the head of the queue, held once. Requires free() > 0.
  Block take();
  /// The block is full and has this content now. Requires a held block without one.
  void fill(Block block, std::uint64_t hash);
  /// One sequence less holds the block; without any it joins the end of the queue.
  void release(Block block);

  /// Throws std::logic_error unless every block is held or in the queue once, the counts are those of the blocks, and
  /// exactly the blocks with a content are found by it. For tests: takes time in proportion to the blocks.
  void check() const;

 private:
  struct Entry {
    std::uint64_t hash = 0;
    Block before = kNone;  // in the queue of free blocks
    Block after = kNone;
    Block next_equal = kNone;  // full later, with the same content
    std::int32_t holders = 0;
    bool full = false;
  };
  Entry& at(Block block) { return blocks_[static_cast<std::size_t>(block)]; }
  const Entry& at(Block block) const { return blocks_[static_cast<std::size_t>(block)]; }
  void append(Block block);
  void unlink(Block block);
  void forget(Block block);

  std::vector<Entry> blocks_;
  std::unordered_map<std::uint64_t, Block> by_hash_;  // the first of each content
  Block head_ = kNone;
  Block tail_ = kNone;
  std::int64_t free_ = 0;
  std::int64_t cached_ = 0;
  std::int64_t evictions_ = 0;
};

}  // namespace retrosim
