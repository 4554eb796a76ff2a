#include "sim/serving/block_pool.h"

#include <stdexcept>

namespace retrosim {

BlockPool::BlockPool(std::int64_t num_blocks) : blocks_(static_cast<std::size_t>(num_blocks)) {
  for (Block block = 0; block < num_blocks; ++block) append(block);
}

void BlockPool::append(Block block) {
  Entry& entry = at(block);
  entry.before = tail_;
  entry.after = kNone;
  (tail_ == kNone ? head_ : at(tail_).after) = block;
  tail_ = block;
  ++free_;
  if (entry.full) ++cached_;
}

void BlockPool::unlink(Block block) {
  const Entry& entry = at(block);
  (entry.before == kNone ? head_ : at(entry.before).after) = entry.after;
  (entry.after == kNone ? tail_ : at(entry.after).before) = entry.before;
  --free_;
  if (entry.full) --cached_;
}

BlockPool::Block BlockPool::find(std::uint64_t hash) const {
  const auto found = by_hash_.find(hash);
  return found == by_hash_.end() ? kNone : found->second;
}

void BlockPool::hold(Block block) {
  if (is_free(block)) unlink(block);
  ++at(block).holders;
}

void BlockPool::forget(Block block) {
  Entry& entry = at(block);
  const auto first = by_hash_.find(entry.hash);
  if (first->second == block) {
    if (entry.next_equal == kNone) {
      by_hash_.erase(first);
    } else {
      first->second = entry.next_equal;
    }
  } else {
    Block before = first->second;
    while (at(before).next_equal != block) before = at(before).next_equal;
    at(before).next_equal = entry.next_equal;
  }
  entry.next_equal = kNone;
  entry.full = false;
  ++evictions_;
}

BlockPool::Block BlockPool::take() {
  if (head_ == kNone) throw std::logic_error("block pool: no free block");
  const Block block = head_;
  unlink(block);
  if (at(block).full) forget(block);
  at(block).holders = 1;
  return block;
}

void BlockPool::fill(Block block, std::uint64_t hash) {
  Entry& entry = at(block);
  if (entry.full || entry.holders == 0) throw std::logic_error("block pool: a block is filled twice or not held");
  entry.hash = hash;
  entry.full = true;
  const auto [first, fresh] = by_hash_.try_emplace(hash, block);
  if (fresh) return;
  Block last = first->second;
  while (at(last).next_equal != kNone) last = at(last).next_equal;
  at(last).next_equal = block;
}

void BlockPool::release(Block block) {
  if (at(block).holders <= 0) throw std::logic_error("block pool: a free block is released");
  if (--at(block).holders == 0) append(block);
}

void BlockPool::check() const {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  };
  std::int64_t queued = 0;
  std::int64_t queued_full = 0;
  Block before = kNone;
  for (Block block = head_; block != kNone; block = at(block).after) {
    require(at(block).holders == 0, "block pool: a held block is in the queue");
    require(at(block).before == before, "block pool: the queue is broken");
    before = block;
    ++queued;
    queued_full += at(block).full ? 1 : 0;
    require(queued <= total(), "block pool: the queue has no end");
  }
  require(before == tail_ && queued == free_ && queued_full == cached_, "block pool: the queue is not what is counted");
  std::int64_t held = 0;
  std::int64_t full = 0;
  for (const Entry& entry : blocks_) {
    held += entry.holders > 0 ? 1 : 0;
    full += entry.full ? 1 : 0;
  }
  require(held + queued == total(), "block pool: a block is neither held nor free");
  std::int64_t found = 0;
  for (const auto& [hash, first] : by_hash_) {
    for (Block block = first; block != kNone; block = at(block).next_equal) {
      require(at(block).full && at(block).hash == hash, "block pool: a block has another content");
      ++found;
    }
  }
  require(found == full, "block pool: a content is not found");
}

}  // namespace retrosim
