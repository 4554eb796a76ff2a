// What sequences of one replica find in its KV blocks, and the blocks that each of them holds.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/serving/block_pool.h"
#include "sim/workload/prompt_content.h"

namespace retrosim {

/// A sequence's blocks are its pages in order, of which a full one can be found by others with the same tokens up to
/// its end, and blocks that hold something else (the output cache), which nobody finds. A page is filled when its last
/// token is scheduled, as vLLM does it: a prompt admitted in the same step finds it already.
class PrefixCache {
 public:
  PrefixCache(std::int64_t num_blocks, std::int64_t page_size, const PromptContent& content)
      : pool_(num_blocks), page_size_(page_size), content_(content) {}

  const BlockPool& pool() const { return pool_; }

  /// A table for a request's blocks, empty.
  using Table = std::int32_t;
  Table open(std::uint32_t request);
  /// Gives an empty table back.
  void close(Table table);

  struct Hit {
    std::int64_t pages = 0;
    std::int64_t free = 0;  // of them, held by nobody: holding them leaves so many fewer free blocks
  };
  /// Pages at the beginning of the request's first `tokens` tokens that are there; at least one token is left to be
  /// computed.
  Hit find(Table table, std::int64_t tokens);
  /// The pages that find() counted, held by the table, which must be empty.
  void hold(Table table, std::int64_t pages);
  /// Pages for `tokens` tokens and `others` other blocks, taking what is missing; full pages can be found from now on.
  /// Requires enough free blocks.
  void grow(Table table, std::int64_t tokens, std::int64_t others);
  /// Gives all blocks up, the last page first.
  void release(Table table);

 private:
  struct Blocks {
    std::uint32_t request = 0;
    std::int64_t filled = 0;  // pages
    std::vector<BlockPool::Block> pages;
    std::vector<BlockPool::Block> others;
    std::vector<std::uint64_t> hashes;  // of the first pages, as far as they were asked for
  };
  std::uint64_t hash(Blocks& blocks, std::int64_t page) const;

  BlockPool pool_;
  std::int64_t page_size_;
  const PromptContent& content_;
  std::vector<Blocks> tables_;
  std::vector<Table> unused_;
};

}  // namespace retrosim
