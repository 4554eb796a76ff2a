// Threads that compute chunks of a sweep.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sim/sweep/chunk_ledger.h"

namespace retrosim {

/// The rows of a chunk. Called by one thread alone, so it may keep what it works out from one chunk to the next.
using ChunkWork = std::function<std::string(const Chunk&)>;

struct CompletedChunk {
  Chunk chunk;
  std::string rows;
};

class WorkerPool {
 public:
  /// `make_work` is called once per thread, in this one.
  WorkerPool(int threads, const std::function<ChunkWork()>& make_work);
  /// Chunks begun are finished, the others dropped.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void submit(const Chunk& chunk);
  /// What has been completed since the last call; waits up to `patience` while there is nothing. Throws what a worker
  /// threw.
  std::vector<CompletedChunk> collect(std::chrono::milliseconds patience);
  /// Chunks submitted and not yet collected.
  std::size_t pending() const { return pending_; }
  int threads() const { return static_cast<int>(threads_.size()); }

 private:
  void run(const ChunkWork& work);

  std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable completed_;
  std::deque<Chunk> queue_;
  std::vector<CompletedChunk> results_;
  std::exception_ptr failure_;
  bool closed_ = false;
  std::size_t pending_ = 0;  // of the collecting thread alone
  std::vector<std::thread> threads_;
};

}  // namespace retrosim
