// Independent pieces of work on a few threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace retrosim {

/// Runs work(0) ... work(count - 1) on up to `threads` threads, this one included; rethrows the first exception.
template <typename Work>
void for_each_parallel(int count, int threads, const Work& work) {
  std::atomic<int> next{0};
  std::exception_ptr failure;
  std::mutex failure_lock;
  auto run = [&] {
    for (int i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(failure_lock);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < std::min(threads, count); ++i) others.emplace_back(run);
  run();
  for (std::thread& thread : others) thread.join();
  if (failure) std::rethrow_exception(failure);
}

/// take(0, work(0)), take(1, work(1)), ... in this order on this thread, the work on up to `threads` threads; only a
/// few results are there at any time.
template <typename Work, typename Take>
void for_each_parallel_in_order(int count, int threads, const Work& work, const Take& take) {
  const int batch = 2 * std::max(threads, 1);
  for (int first = 0; first < count; first += batch) {
    const int size = std::min(batch, count - first);
    std::vector<std::optional<decltype(work(0))>> results(static_cast<std::size_t>(size));
    for_each_parallel(size, threads, [&](int i) { results[static_cast<std::size_t>(i)].emplace(work(first + i)); });
    for (int i = 0; i < size; ++i) take(first + i, *results[static_cast<std::size_t>(i)]);
  }
}

}  // namespace retrosim
