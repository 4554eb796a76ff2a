#include "sim/sweep/coordinator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "model/error.h"

namespace retrosim {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPatience{10};       // between looks at the other ranks
constexpr std::chrono::milliseconds kPatienceAlone{50};  // without any
constexpr std::size_t kAhead = 16;                       // chunks per thread that a rank holds, so that none waits
constexpr int kBeatsPerTimeout = 5;

class Coordinator {
 public:
  Coordinator(ChunkLedger& ledger, WorkerPool& workers, RankLink* link, const CoordinatorOptions& options)
      : ledger_(ledger), workers_(workers), link_(link), options_(options), started_(Clock::now()) {
    if (link_ != nullptr) ranks_.resize(static_cast<std::size_t>(link_->size()), {.heard = started_});
  }

  void run(const std::function<void(std::string_view)>& write,
           const std::function<void(const SweepProgress&)>& progress) {
    const std::uint64_t resumed = ledger_.released();
    const auto report = [&] {
      progress({.completed = ledger_.completed(),
                .resumed = resumed,
                .total = options_.total,
                .elapsed_s = std::chrono::duration<double>(Clock::now() - started_).count(),
                .ranks = answering(),
                .lost_ranks = any_lost()});
    };
    report();
    while (!ledger_.done()) {
      feed_own_workers();
      for (CompletedChunk& done : workers_.collect(link_ != nullptr ? kPatience : kPatienceAlone)) {
        ledger_.complete(done.chunk, std::move(done.rows));
      }
      if (link_ != nullptr) attend_to_ranks();
      const std::string rows = ledger_.release();
      if (!rows.empty()) write(rows);
      report();
    }
    for (int rank = 1; link_ != nullptr && rank < link_->size(); ++rank) {
      link_->send(rank, {.kind = RankMessageKind::stop, .chunk = {any_lost() ? 1U : 0U, 0}, .rows = {}});
    }
  }

 private:
  struct Rank {
    Clock::time_point heard;
    Clock::time_point told = {};
    bool seen = false;  // has said something
    bool lost = false;
    std::uint64_t holds = 0;     // chunks leased to it
    std::uint64_t capacity = 0;  // chunks that it wants to hold
  };

  void feed_own_workers() {
    while (workers_.pending() < kAhead * static_cast<std::size_t>(workers_.threads())) {
      const std::optional<Chunk> chunk = ledger_.lease(0);
      if (!chunk) return;
      workers_.submit(*chunk);
    }
  }

  void attend_to_ranks() {
    while (const std::optional<RankMessage> message = link_->receive()) hear(*message);
    const Clock::time_point now = Clock::now();
    for (int i = 1; i < link_->size(); ++i) {
      Rank& rank = ranks_[static_cast<std::size_t>(i)];
      if (!rank.lost && now - rank.heard > options_.rank_timeout) {
        rank.lost = true;
        rank.holds = 0;
        ledger_.lose(i);
      }
      if (now - rank.told > options_.rank_timeout / kBeatsPerTimeout) {
        rank.told = now;
        link_->send(i, {.kind = RankMessageKind::here, .chunk = {}, .rows = {}});
      }
      while (rank.seen && !rank.lost && rank.holds < rank.capacity) {
        const std::optional<Chunk> chunk = ledger_.lease(i);
        if (!chunk) break;
        link_->send(i, {.kind = RankMessageKind::chunk, .chunk = *chunk, .rows = {}});
        ++rank.holds;
      }
    }
  }

  void hear(const RankMessage& message) {
    Rank& rank = ranks_[static_cast<std::size_t>(message.from)];
    rank.heard = Clock::now();
    rank.seen = true;
    rank.lost = false;  // it was only slow
    if (message.kind == RankMessageKind::beat) {
      if (message.chunk.first != options_.fingerprint) {
        throw InputError("", "rank " + std::to_string(message.from), "another sweep", "the same SPEC on every rank");
      }
      rank.capacity = message.chunk.count;
    } else if (message.kind == RankMessageKind::rows) {
      ledger_.complete(message.chunk, message.rows);
      if (rank.holds > 0) --rank.holds;
    }
  }

  int answering() const {
    int count = 1;
    for (std::size_t i = 1; i < ranks_.size(); ++i) count += ranks_[i].seen && !ranks_[i].lost ? 1 : 0;
    return count;
  }

  bool any_lost() const {
    return std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.lost; });
  }

  ChunkLedger& ledger_;
  WorkerPool& workers_;
  RankLink* link_;
  const CoordinatorOptions& options_;
  Clock::time_point started_;
  std::vector<Rank> ranks_;  // [link_->size()]; [0] is not used
};

}  // namespace

std::string encode(const RankMessage& message) {
  const std::array<std::uint64_t, 3> head{static_cast<std::uint64_t>(message.kind), message.chunk.first,
                                          message.chunk.count};
  std::string bytes(sizeof(head), '\0');
  std::memcpy(bytes.data(), head.data(), sizeof(head));
  return bytes + message.rows;
}

RankMessage decode(std::string_view bytes, int from) {
  std::array<std::uint64_t, 3> head{};
  if (bytes.size() < sizeof(head)) {
    throw InputError("", "message of rank " + std::to_string(from), std::to_string(bytes.size()) + " bytes",
                     "at least 24");
  }
  std::memcpy(head.data(), bytes.data(), sizeof(head));
  if (head[0] > static_cast<std::uint64_t>(RankMessageKind::stop)) {
    throw InputError("", "message of rank " + std::to_string(from), "kind " + std::to_string(head[0]),
                     "a message of this program's version");
  }
  return {.kind = static_cast<RankMessageKind>(head[0]),
          .chunk = {head[1], head[2]},
          .rows = std::string(bytes.substr(sizeof(head))),
          .from = from};
}

void coordinate(ChunkLedger& ledger, WorkerPool& workers, RankLink* link, const CoordinatorOptions& options,
                const std::function<void(std::string_view)>& write,
                const std::function<void(const SweepProgress&)>& progress) {
  Coordinator(ledger, workers, link, options).run(write, progress);
}

RankEnd work_for_rank_0(RankLink& link, WorkerPool& workers, const CoordinatorOptions& options) {
  const RankMessage beat{.kind = RankMessageKind::beat,
                         .chunk = {options.fingerprint, kAhead * static_cast<std::uint64_t>(workers.threads())},
                         .rows = {}};
  Clock::time_point heard = Clock::now();
  Clock::time_point told = {};
  for (;;) {
    const Clock::time_point now = Clock::now();
    if (now - told > options.rank_timeout / kBeatsPerTimeout) {
      told = now;
      link.send(0, beat);
    }
    while (const std::optional<RankMessage> message = link.receive()) {
      heard = Clock::now();
      if (message->kind == RankMessageKind::stop) {
        return message->chunk.first == 0 ? RankEnd::together : RankEnd::some_lost;
      }
      if (message->kind == RankMessageKind::chunk) workers.submit(message->chunk);
    }
    if (Clock::now() - heard > options.rank_timeout) return RankEnd::rank_0_silent;
    for (CompletedChunk& done : workers.collect(kPatience)) {
      link.send(0, {.kind = RankMessageKind::rows, .chunk = done.chunk, .rows = std::move(done.rows)});
    }
  }
}

}  // namespace retrosim
