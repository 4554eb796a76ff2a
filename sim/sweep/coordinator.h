// A sweep over the threads of this process and, where there are any, over other ranks (processes, perhaps on other
// machines), dynamically: whoever is idle gets the next chunk.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "sim/sweep/chunk_ledger.h"
#include "sim/sweep/worker_pool.h"

namespace retrosim {

/// What ranks say to each other.
enum class RankMessageKind : std::uint64_t {
  beat,   // worker: here, working on the sweep whose fingerprint is `chunk.first`
  rows,   // worker: these are the chunk's
  chunk,  // rank 0: compute this
  here,   // rank 0: here, still
  stop,   // rank 0: the sweep is done; `chunk.first` is 1 when ranks were lost, so that nobody may wait for all
};

struct RankMessage {
  RankMessageKind kind = RankMessageKind::beat;
  Chunk chunk;
  std::string rows;
  int from = 0;  // filled in by receive()
};

/// The wire format: three 64-bit words (kind, first, count) in the machine's byte order, then the rows.
std::string encode(const RankMessage& message);
/// Throws InputError for anything else.
RankMessage decode(std::string_view bytes, int from);

/// Messages between the ranks of one sweep. Messages of one sender arrive in order; those to a dead rank are lost.
class RankLink {
 public:
  virtual ~RankLink() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void send(int to, const RankMessage& message) = 0;
  /// The next message that is there, without waiting.
  virtual std::optional<RankMessage> receive() = 0;
};

struct SweepProgress {
  std::uint64_t completed = 0;  // points of the whole sweep whose rows are there
  std::uint64_t resumed = 0;    // of them, found in the file
  std::uint64_t total = 0;
  double elapsed_s = 0;
  int ranks = 1;            // that answer
  bool lost_ranks = false;  // some are silent
};

struct CoordinatorOptions {
  std::chrono::milliseconds rank_timeout{10'000};  // silence after which a rank is taken for lost
  std::uint64_t fingerprint = 0;                   // of the sweep: ranks that work on another one are refused
  std::uint64_t total = 0;                         // points
};

/// Rank 0, or the only process: leases every chunk of `ledger` to its own workers and to the ranks behind `link` (null:
/// none), writes rows in the order of the points, and returns when all are written. A rank that is silent for
/// rank_timeout is lost: its chunks are leased again. Throws InputError for a rank that works on another sweep.
void coordinate(ChunkLedger& ledger, WorkerPool& workers, RankLink* link, const CoordinatorOptions& options,
                const std::function<void(std::string_view)>& write,
                const std::function<void(const SweepProgress&)>& progress);

/// How a rank's work ended.
enum class RankEnd : std::uint8_t {
  together,  // all ranks are there
  some_lost,
  rank_0_silent,  // for rank_timeout
};

/// Every other rank: computes what rank 0 asks for until it says stop.
RankEnd work_for_rank_0(RankLink& link, WorkerPool& workers, const CoordinatorOptions& options);

}  // namespace retrosim
