#include "sim/sweep/chunk_ledger.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace retrosim {

ChunkLedger::ChunkLedger(std::uint64_t first, std::uint64_t end, std::uint64_t chunk_size)
    : end_(end), chunk_size_(chunk_size), next_(first), released_(first), completed_(first) {
  if (first > end || chunk_size == 0) throw std::logic_error("chunk ledger: no such points");
}

Chunk ChunkLedger::chunk_at(std::uint64_t first) const { return {first, std::min(chunk_size_, end_ - first)}; }

std::optional<Chunk> ChunkLedger::lease(int owner) {
  std::uint64_t first = next_;
  if (!lost_.empty()) {
    first = *lost_.begin();
    lost_.erase(lost_.begin());
  } else if (next_ == end_) {
    return std::nullopt;
  } else {
    next_ += chunk_at(next_).count;
  }
  owner_of_[first] = owner;
  return chunk_at(first);
}

void ChunkLedger::complete(const Chunk& chunk, std::string rows) {
  const bool leased = owner_of_.erase(chunk.first) > 0;
  const bool wanted = leased || lost_.erase(chunk.first) > 0;
  if (chunk.first >= next_ || !(chunk == chunk_at(chunk.first))) {
    throw std::logic_error("chunk ledger: rows of points that nobody asked for");
  }
  if (!wanted) return;
  completed_ += chunk.count;
  waiting_.emplace(chunk.first, std::move(rows));
}

void ChunkLedger::lose(int owner) {
  for (auto lease = owner_of_.begin(); lease != owner_of_.end();) {
    if (lease->second == owner) {
      lost_.insert(lease->first);
      lease = owner_of_.erase(lease);
    } else {
      ++lease;
    }
  }
}

std::string ChunkLedger::release() {
  std::string rows;
  while (!waiting_.empty() && waiting_.begin()->first == released_) {
    rows += waiting_.begin()->second;
    released_ += chunk_at(released_).count;
    waiting_.erase(waiting_.begin());
  }
  return rows;
}

}  // namespace retrosim
