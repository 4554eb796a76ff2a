// Sweeps over simulated ranks: threads that exchange messages through queues, some of which fall silent.
#include "sim/sweep/coordinator.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "model/error.h"

namespace retrosim {
namespace {

using namespace std::chrono_literals;

/// The mail of all ranks.
struct PostOffice {
  explicit PostOffice(int ranks) : boxes(static_cast<std::size_t>(ranks)) {}
  std::mutex mutex;
  std::vector<std::deque<RankMessage>> boxes;
};

class FakeLink final : public RankLink {
 public:
  FakeLink(PostOffice& office, int rank) : office_(office), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(office_.boxes.size()); }
  void send(int to, const RankMessage& message) override {
    const RankMessage copy = decode(encode(message), rank_);
    const std::lock_guard lock(office_.mutex);
    office_.boxes[static_cast<std::size_t>(to)].push_back(copy);
  }
  std::optional<RankMessage> receive() override {
    const std::lock_guard lock(office_.mutex);
    auto& box = office_.boxes[static_cast<std::size_t>(rank_)];
    if (box.empty()) return std::nullopt;
    RankMessage message = box.front();
    box.pop_front();
    return message;
  }

 private:
  PostOffice& office_;
  int rank_;
};

std::string rows_of(const Chunk& chunk) {
  std::string rows;
  for (std::uint64_t i = 0; i < chunk.count; ++i) rows += std::to_string(chunk.first + i) + "\n";
  return rows;
}

std::string all_rows(std::uint64_t points) { return rows_of({0, points}); }

ChunkWork quick_work() { return rows_of; }

std::string sweep(std::uint64_t points, int threads, RankLink* link, std::chrono::milliseconds timeout = 60s) {
  ChunkLedger ledger(0, points, 3);
  WorkerPool workers(threads, quick_work);
  std::string written;
  coordinate(
      ledger, workers, link, {.rank_timeout = timeout, .fingerprint = 42, .total = points},
      [&](std::string_view rows) { written += rows; }, [](const SweepProgress&) {});
  return written;
}

TEST(Coordinator, ThreadsDoNotChangeTheRows) {
  for (const int threads : {1, 2, 5}) EXPECT_EQ(sweep(100, threads, nullptr), all_rows(100)) << threads;
}

TEST(Coordinator, RanksDoNotChangeTheRows) {
  PostOffice office(3);
  std::vector<std::thread> ranks;
  for (int rank = 1; rank < 3; ++rank) {
    ranks.emplace_back([&office, rank] {
      FakeLink link(office, rank);
      WorkerPool workers(2, quick_work);
      EXPECT_EQ(work_for_rank_0(link, workers, {.rank_timeout = 60s, .fingerprint = 42, .total = 500}),
                RankEnd::together);
    });
  }
  FakeLink link(office, 0);
  EXPECT_EQ(sweep(500, 1, &link), all_rows(500));
  for (std::thread& rank : ranks) rank.join();
}

// Rank 1 takes chunks and never answers.
TEST(Coordinator, PointsOfALostRankAreComputedByOthers) {
  PostOffice office(2);
  FakeLink lost(office, 1);
  lost.send(0, {.kind = RankMessageKind::beat, .chunk = {42, 4}, .rows = {}});
  FakeLink link(office, 0);
  EXPECT_EQ(sweep(400, 1, &link, 100ms), all_rows(400));
  std::uint64_t taken = 0;
  bool stopped = false;
  while (const auto message = lost.receive()) {
    if (message->kind == RankMessageKind::chunk) taken += message->chunk.count;
    stopped = stopped || (message->kind == RankMessageKind::stop && message->chunk.first == 1);
  }
  EXPECT_GT(taken, 0U);
  EXPECT_TRUE(stopped);
}

TEST(Coordinator, RefusesARankOfAnotherSweep) {
  PostOffice office(2);
  FakeLink other(office, 1);
  other.send(0, {.kind = RankMessageKind::beat, .chunk = {43, 4}, .rows = {}});
  FakeLink link(office, 0);
  EXPECT_THROW(sweep(1'000'000, 1, &link), InputError);
}

TEST(Coordinator, ARankGivesUpWhenRank0IsSilent) {
  PostOffice office(2);
  FakeLink link(office, 1);
  WorkerPool workers(1, quick_work);
  EXPECT_EQ(work_for_rank_0(link, workers, {.rank_timeout = 50ms, .fingerprint = 42, .total = 1}),
            RankEnd::rank_0_silent);
}

TEST(Coordinator, AFailureOfAWorkerReachesTheCaller) {
  ChunkLedger ledger(0, 100, 3);
  WorkerPool workers(2, [] {
    return [](const Chunk& chunk) -> std::string {
      if (chunk.first > 30) throw InputError("broken");
      return "";
    };
  });
  EXPECT_THROW(coordinate(
                   ledger, workers, nullptr, {.fingerprint = 0, .total = 100}, [](std::string_view) {},
                   [](const SweepProgress&) {}),
               InputError);
}

TEST(RankMessage, SurvivesTheWire) {
  const RankMessage message{.kind = RankMessageKind::rows, .chunk = {1ULL << 40, 7}, .rows = std::string("a\0b\n", 4)};
  const RankMessage back = decode(encode(message), 3);
  EXPECT_EQ(back.kind, message.kind);
  EXPECT_EQ(back.chunk, message.chunk);
  EXPECT_EQ(back.rows, message.rows);
  EXPECT_EQ(back.from, 3);
  EXPECT_THROW(decode("short", 1), InputError);
  EXPECT_THROW(decode(std::string(24, '\xff'), 1), InputError);
}

}  // namespace
}  // namespace retrosim
