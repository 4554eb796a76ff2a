// Invariants of the KV block pool under prefix caching. B1 every block is held or free once (check()); B2 a content is
// found exactly while its block keeps it; B3 the least recently used free block goes first.
#include "sim/serving/block_pool.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <stdexcept>
#include <vector>

#include "sim/workload/random.h"

namespace retrosim {
namespace {

TEST(BlockPool, FreeBlocksKeepTheirContentUntilTheyAreNeeded) {
  BlockPool pool(3);
  const auto a = pool.take();
  const auto b = pool.take();
  pool.fill(a, 10);
  pool.fill(b, 20);
  pool.release(b);
  pool.release(a);
  EXPECT_EQ(pool.cached(), 2);
  EXPECT_EQ(pool.free(), 3);
  EXPECT_EQ(pool.find(10), a);
  // The queue is: the block that was never used, b, a.
  const auto c = pool.take();
  EXPECT_EQ(pool.evictions(), 0);
  EXPECT_EQ(pool.take(), b);
  EXPECT_EQ(pool.find(20), BlockPool::kNone);
  pool.hold(pool.find(10));
  EXPECT_EQ(pool.free(), 0);
  EXPECT_THROW(pool.take(), std::logic_error);
  pool.release(a);
  pool.release(c);
  EXPECT_EQ(pool.take(), a);
  EXPECT_EQ(pool.evictions(), 2);
  pool.check();
}

TEST(BlockPool, OfEqualBlocksTheFirstIsFoundWhileItLasts) {
  BlockPool pool(3);
  const auto a = pool.take();
  const auto b = pool.take();
  const auto c = pool.take();
  for (const auto block : {a, b, c}) pool.fill(block, 7);
  EXPECT_EQ(pool.find(7), a);
  pool.release(b);
  pool.release(a);
  pool.check();
  EXPECT_EQ(pool.take(), b);  // not the first of its equals
  EXPECT_EQ(pool.find(7), a);
  EXPECT_EQ(pool.take(), a);
  EXPECT_EQ(pool.find(7), c);
  pool.check();
}

TEST(BlockPool, RefusesWhatWouldLoseABlock) {
  BlockPool pool(2);
  const auto a = pool.take();
  pool.fill(a, 1);
  EXPECT_THROW(pool.fill(a, 2), std::logic_error);
  pool.release(a);
  EXPECT_THROW(pool.release(a), std::logic_error);
  EXPECT_THROW(pool.fill(a, 2), std::logic_error);
}

/// A slower pool: lists that are searched from the front.
struct NaivePool {
  struct Block {
    int holders = 0;
    std::uint64_t hash = 0;  // 0: none
    int filled = 0;          // order of filling
  };
  explicit NaivePool(int n) : blocks(static_cast<std::size_t>(n)) {
    for (int i = 0; i < n; ++i) queue.push_back(i);
  }
  std::vector<Block> blocks;
  std::deque<int> queue;
  int fills = 0;

  int find(std::uint64_t hash) const {
    int best = -1;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].hash == hash && (best < 0 || blocks[i].filled < blocks[static_cast<std::size_t>(best)].filled)) {
        best = static_cast<int>(i);
      }
    }
    return best;
  }
};

TEST(BlockPool, AgreesWithASlowerOne) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    BlockPool pool(12);
    NaivePool naive(12);
    RandomStream random(seed, RandomPurpose::sample, 0);
    std::vector<int> held;  // one entry per holder
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t choice = random.next_u64() % 4;
      if (choice == 0 && pool.free() > 0) {
        const int block = pool.take();
        ASSERT_EQ(block, naive.queue.front());
        naive.queue.pop_front();
        naive.blocks[static_cast<std::size_t>(block)] = {.holders = 1};
        held.push_back(block);
      } else if (choice == 1 && !held.empty()) {
        const int block = held[random.next_u64() % held.size()];
        auto& own = naive.blocks[static_cast<std::size_t>(block)];
        if (own.hash != 0) continue;
        own.hash = 1 + random.next_u64() % 6;
        own.filled = naive.fills++;
        pool.fill(block, own.hash);
      } else if (choice == 2 && !held.empty()) {
        const std::size_t which = random.next_u64() % held.size();
        const int block = held[which];
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
        pool.release(block);
        if (--naive.blocks[static_cast<std::size_t>(block)].holders == 0) naive.queue.push_back(block);
      } else if (choice == 3) {
        const std::uint64_t hash = 1 + random.next_u64() % 6;
        const int block = pool.find(hash);
        ASSERT_EQ(block, naive.find(hash));  // B2
        if (block < 0) continue;
        pool.hold(block);
        if (naive.blocks[static_cast<std::size_t>(block)].holders++ == 0) std::erase(naive.queue, block);
        held.push_back(block);
      }
      ASSERT_EQ(pool.free(), static_cast<std::int64_t>(naive.queue.size()));
      pool.check();  // B1
    }
  }
}

}  // namespace
}  // namespace retrosim
