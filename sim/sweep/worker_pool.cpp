#include "sim/sweep/worker_pool.h"

#include <utility>

namespace retrosim {

WorkerPool::WorkerPool(int threads, const std::function<ChunkWork()>& make_work) {
  threads_.reserve(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, work = make_work()] { run(work); });
  }
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  submitted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::submit(const Chunk& chunk) {
  ++pending_;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(chunk);
  }
  submitted_.notify_one();
}

void WorkerPool::run(const ChunkWork& work) {
  for (;;) {
    Chunk chunk;
    {
      std::unique_lock lock(mutex_);
      submitted_.wait(lock, [this] { return closed_ || !queue_.empty(); });
      if (closed_) return;
      chunk = queue_.front();
      queue_.pop_front();
    }
    std::string rows;
    std::exception_ptr failure;
    try {
      rows = work(chunk);
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      if (failure) {
        if (!failure_) failure_ = failure;
      } else {
        results_.push_back({chunk, std::move(rows)});
      }
    }
    completed_.notify_one();
    if (failure) return;
  }
}

std::vector<CompletedChunk> WorkerPool::collect(std::chrono::milliseconds patience) {
  std::vector<CompletedChunk> results;
  {
    std::unique_lock lock(mutex_);
    completed_.wait_for(lock, patience, [this] { return failure_ || !results_.empty(); });
    if (failure_) std::rethrow_exception(failure_);
    results.swap(results_);
  }
  pending_ -= results.size();
  return results;
}

}  // namespace retrosim
