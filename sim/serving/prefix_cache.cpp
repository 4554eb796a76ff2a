#include "sim/serving/prefix_cache.h"

#include <stdexcept>

namespace retrosim {

PrefixCache::Table PrefixCache::open(std::uint32_t request) {
  if (unused_.empty()) {
    unused_.push_back(static_cast<Table>(tables_.size()));
    tables_.emplace_back();
  }
  const Table table = unused_.back();
  unused_.pop_back();
  tables_[static_cast<std::size_t>(table)].request = request;
  return table;
}

void PrefixCache::close(Table table) {
  Blocks& blocks = tables_[static_cast<std::size_t>(table)];
  if (!blocks.pages.empty() || !blocks.others.empty()) throw std::logic_error("prefix cache: blocks are lost");
  blocks.hashes.clear();
  unused_.push_back(table);
}

std::uint64_t PrefixCache::hash(Blocks& blocks, std::int64_t page) const {
  while (static_cast<std::int64_t>(blocks.hashes.size()) <= page) {
    const auto next = static_cast<std::int64_t>(blocks.hashes.size());
    const std::uint64_t before = blocks.hashes.empty() ? 0 : blocks.hashes.back();
    blocks.hashes.push_back(content_.chain(before, blocks.request, next * page_size_, page_size_));
  }
  return blocks.hashes[static_cast<std::size_t>(page)];
}

PrefixCache::Hit PrefixCache::find(Table table, std::int64_t tokens) {
  Blocks& blocks = tables_[static_cast<std::size_t>(table)];
  Hit hit;
  for (const std::int64_t most = (tokens - 1) / page_size_; hit.pages < most; ++hit.pages) {
    const BlockPool::Block block = pool_.find(hash(blocks, hit.pages));
    if (block == BlockPool::kNone) break;
    if (pool_.is_free(block)) ++hit.free;
  }
  return hit;
}

void PrefixCache::hold(Table table, std::int64_t pages) {
  Blocks& blocks = tables_[static_cast<std::size_t>(table)];
  if (!blocks.pages.empty()) throw std::logic_error("prefix cache: a prefix is behind other pages");
  for (std::int64_t page = 0; page < pages; ++page) {
    const BlockPool::Block block = pool_.find(hash(blocks, page));
    pool_.hold(block);
    blocks.pages.push_back(block);
  }
  blocks.filled = pages;
}

void PrefixCache::grow(Table table, std::int64_t tokens, std::int64_t others) {
  Blocks& blocks = tables_[static_cast<std::size_t>(table)];
  while (static_cast<std::int64_t>(blocks.others.size()) < others) blocks.others.push_back(pool_.take());
  while (static_cast<std::int64_t>(blocks.pages.size()) * page_size_ < tokens) blocks.pages.push_back(pool_.take());
  for (; (blocks.filled + 1) * page_size_ <= tokens; ++blocks.filled) {
    pool_.fill(blocks.pages[static_cast<std::size_t>(blocks.filled)], hash(blocks, blocks.filled));
  }
}

void PrefixCache::release(Table table) {
  Blocks& blocks = tables_[static_cast<std::size_t>(table)];
  for (auto block = blocks.others.rbegin(); block != blocks.others.rend(); ++block) pool_.release(*block);
  for (auto block = blocks.pages.rbegin(); block != blocks.pages.rend(); ++block) pool_.release(*block);
  blocks.others.clear();
  blocks.pages.clear();
  blocks.filled = 0;
}

}  // namespace retrosim
