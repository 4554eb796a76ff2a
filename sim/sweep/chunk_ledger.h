// Who computes which points of a sweep, and their rows in the order of the points, whatever order they come in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace retrosim {

/// Consecutive points.
struct Chunk {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  friend bool operator==(const Chunk&, const Chunk&) = default;
};

/// Chunks of the points [first, end): each is leased to an owner until its rows are there or the owner is lost; a lost
/// owner's chunks are leased again, before new ones. An owner gets chunks of one run of consecutive points for as long
/// as it lasts, as neighbouring points share work; when all runs are given out, it gets the second half of the longest
/// one left. Not for several threads at once.
class ChunkLedger {
 public:
  /// Runs are of `chunks_per_run` chunks.
  ChunkLedger(std::uint64_t first, std::uint64_t end, std::uint64_t chunk_size, std::uint64_t chunks_per_run = 1);

  /// The next chunk for `owner`; nothing when all points are leased or done.
  std::optional<Chunk> lease(int owner);

  /// Rows of a leased chunk. A chunk whose rows are there already (its owner was taken for lost, and answered after
  /// all) changes nothing: rows are a function of the points. Throws std::logic_error for a chunk never leased.
  void complete(const Chunk& chunk, std::string rows);

  /// Everything leased to `owner` is to be computed again.
  void lose(int owner);

  /// Rows, not handed out before, of the points that follow those handed out, as far as they are there.
  std::string release();

  /// Points whose rows were handed out, from the first of the sweep on.
  std::uint64_t released() const { return released_; }
  /// Points whose rows are there.
  std::uint64_t completed() const { return completed_; }
  bool done() const { return released_ == end_; }

 private:
  std::uint64_t first_;
  std::uint64_t end_;
  std::uint64_t chunk_size_;
  std::uint64_t run_size_;
  std::uint64_t next_;                            // first point never leased
  std::uint64_t released_;                        // rows before this point were handed out
  std::uint64_t completed_;                       // counts those before the first as well
  std::map<std::uint64_t, int> owner_of_;         // by first point: leased, rows not there
  std::set<std::uint64_t> lost_;                  // first points to be leased again
  std::map<std::uint64_t, std::string> waiting_;  // by first point: rows that cannot be handed out yet
  std::map<int, Chunk> run_of_;                   // by owner: points of its run that were never leased
  Chunk chunk_at(std::uint64_t first) const;
  /// Sees to it that the owner's run is not empty. Returns false when no point is left.
  bool find_run(int owner);
};

}  // namespace retrosim
