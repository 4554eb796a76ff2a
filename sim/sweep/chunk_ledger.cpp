#include "sim/sweep/chunk_ledger.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace retrosim {

ChunkLedger::ChunkLedger(std::uint64_t first, std::uint64_t end, std::uint64_t chunk_size, std::uint64_t chunks_per_run)
    : first_(first),
      end_(end),
      chunk_size_(chunk_size),
      run_size_(chunk_size * chunks_per_run),
      next_(first),
      released_(first),
      completed_(first) {
  if (first > end || run_size_ == 0) throw std::logic_error("chunk ledger: no such points");
}

Chunk ChunkLedger::chunk_at(std::uint64_t first) const { return {first, std::min(chunk_size_, end_ - first)}; }

bool ChunkLedger::find_run(int owner) {
  Chunk& run = run_of_[owner];
  if (run.count > 0) return true;
  if (next_ < end_) {
    run = {next_, std::min(run_size_, end_ - next_)};
    next_ += run.count;
    return true;
  }
  const auto longest = std::max_element(run_of_.begin(), run_of_.end(),
                                        [](const auto& a, const auto& b) { return a.second.count < b.second.count; });
  Chunk& other = longest->second;
  if (other.count == 0) return false;
  const std::uint64_t chunks = (other.count + chunk_size_ - 1) / chunk_size_;
  const std::uint64_t kept = std::min(other.count, chunks / 2 * chunk_size_);
  run = {other.first + kept, other.count - kept};
  other.count = kept;
  return true;
}

std::optional<Chunk> ChunkLedger::lease(int owner) {
  std::uint64_t first = 0;
  if (!lost_.empty()) {
    first = *lost_.begin();
    lost_.erase(lost_.begin());
  } else if (find_run(owner)) {
    Chunk& run = run_of_[owner];
    first = run.first;
    const std::uint64_t count = chunk_at(first).count;
    run = {first + count, run.count - count};
  } else {
    return std::nullopt;
  }
  owner_of_[first] = owner;
  return chunk_at(first);
}

void ChunkLedger::complete(const Chunk& chunk, std::string rows) {
  const bool whole = chunk.first >= first_ && chunk.first < end_ && (chunk.first - first_) % chunk_size_ == 0 &&
                     chunk == chunk_at(chunk.first);
  const bool leased = owner_of_.erase(chunk.first) > 0;
  const bool wanted = leased || lost_.erase(chunk.first) > 0;
  const bool known = wanted || chunk.first < released_ || waiting_.contains(chunk.first);
  if (!whole || !known) throw std::logic_error("chunk ledger: rows of points that nobody asked for");
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
  // Points of its run that it was never given are for the others: find_run takes them from an owner that asks no more.
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
