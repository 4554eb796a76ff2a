#include "sim/sweep/chunk_ledger.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace retrosim {
namespace {

/// Rows that say which points they are of.
std::string rows_of(const Chunk& chunk) {
  std::string rows;
  for (std::uint64_t i = 0; i < chunk.count; ++i) rows += std::to_string(chunk.first + i) + "\n";
  return rows;
}

TEST(ChunkLedger, HandsOutRowsInOrderWhateverTheOrderTheyComeIn) {
  ChunkLedger ledger(3, 10, 3);  // 3..5, 6..8, 9
  const Chunk a = *ledger.lease(1);
  const Chunk b = *ledger.lease(2);
  const Chunk c = *ledger.lease(1);
  EXPECT_EQ(a, (Chunk{3, 3}));
  EXPECT_EQ(c, (Chunk{9, 1}));
  EXPECT_FALSE(ledger.lease(3));
  ledger.complete(c, rows_of(c));
  ledger.complete(b, rows_of(b));
  EXPECT_EQ(ledger.release(), "");
  EXPECT_EQ(ledger.completed(), 3U + 4U);
  ledger.complete(a, rows_of(a));
  EXPECT_EQ(ledger.release(), "3\n4\n5\n6\n7\n8\n9\n");
  EXPECT_TRUE(ledger.done());
}

TEST(ChunkLedger, LostChunksAreLeasedAgainFirst) {
  ChunkLedger ledger(0, 6, 2);
  const Chunk lost = *ledger.lease(1);
  ledger.complete(*ledger.lease(2), "2\n3\n");
  ledger.lose(1);
  EXPECT_EQ(*ledger.lease(2), lost);
  EXPECT_EQ(*ledger.lease(2), (Chunk{4, 2}));
  ledger.complete({4, 2}, "4\n5\n");
  ledger.complete(lost, "0\n1\n");
  EXPECT_EQ(ledger.release(), "0\n1\n2\n3\n4\n5\n");
}

// A rank taken for lost answers after all: before, while or after another computes its chunk.
TEST(ChunkLedger, LateAnswersOfALostOwnerChangeNothing) {
  ChunkLedger ledger(0, 2, 1);
  const Chunk a = *ledger.lease(1);
  const Chunk b = *ledger.lease(1);
  ledger.lose(1);
  ledger.complete(a, "0\n");  // nobody else had begun: it counts
  EXPECT_EQ(*ledger.lease(2), b);
  ledger.complete(b, "1\n");
  ledger.complete(b, "1\n");
  EXPECT_EQ(ledger.completed(), 2U);
  EXPECT_EQ(ledger.release(), "0\n1\n");
  ledger.complete(b, "1\n");
  EXPECT_EQ(ledger.release(), "");
  EXPECT_TRUE(ledger.done());
}

TEST(ChunkLedger, RefusesRowsThatNobodyAskedFor) {
  ChunkLedger ledger(0, 10, 2);
  EXPECT_THROW(ledger.complete({0, 2}, ""), std::logic_error);
  ledger.lease(0);
  EXPECT_THROW(ledger.complete({0, 3}, ""), std::logic_error);
}

// Runs of 2 chunks of 2 points: each owner stays in its run, then takes half of what another has left.
TEST(ChunkLedger, OwnersStayInTheirRunsAndShareTheLastOnes) {
  ChunkLedger ledger(0, 15, 2, 4);  // runs 0..7 and 8..14
  EXPECT_EQ(*ledger.lease(1), (Chunk{0, 2}));
  EXPECT_EQ(*ledger.lease(2), (Chunk{8, 2}));
  EXPECT_EQ(*ledger.lease(1), (Chunk{2, 2}));
  EXPECT_EQ(*ledger.lease(2), (Chunk{10, 2}));
  EXPECT_EQ(*ledger.lease(2), (Chunk{12, 2}));
  EXPECT_EQ(*ledger.lease(2), (Chunk{14, 1}));
  EXPECT_EQ(*ledger.lease(2), (Chunk{6, 2}));  // of 4..7, the second half
  EXPECT_EQ(*ledger.lease(3), (Chunk{4, 2}));  // a single chunk goes whole
  EXPECT_FALSE(ledger.lease(1));
  for (std::uint64_t first = 0; first < 15; first += 2) {
    const Chunk chunk{first, first == 14 ? 1U : 2U};
    ledger.complete(chunk, rows_of(chunk));
  }
  EXPECT_EQ(ledger.release(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n");
  EXPECT_TRUE(ledger.done());
}

TEST(ChunkLedger, ALostOwnersRunIsComputedByOthers) {
  ChunkLedger ledger(0, 8, 1, 8);
  EXPECT_EQ(*ledger.lease(1), (Chunk{0, 1}));
  ledger.lose(1);
  std::string rows;
  while (const auto chunk = ledger.lease(2)) ledger.complete(*chunk, rows_of(*chunk));
  EXPECT_EQ(ledger.release(), "0\n1\n2\n3\n4\n5\n6\n7\n");
}

TEST(ChunkLedger, NothingLeftIsDone) {
  ChunkLedger ledger(5, 5, 2);
  EXPECT_TRUE(ledger.done());
  EXPECT_FALSE(ledger.lease(0));
}

}  // namespace
}  // namespace retrosim
