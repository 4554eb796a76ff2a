// Threads that stay between loops: for work made of many short loops, where starting threads anew would cost more than
// the loop (parallel.h does that).
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace retrosim::kernels {

class Workers {
 public:
  /// The calling thread of run() is one of them.
  explicit Workers(int num_threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Calls task(i) for every i in [0, count). Rethrows the first exception of a task once all threads have stopped.
  void run(std::int64_t count, const std::function<void(std::int64_t)>& task);

 private:
  void take_tasks();
  void serve();

  const std::function<void(std::int64_t)>* task_ = nullptr;
  std::int64_t count_ = 0;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::uint32_t> busy_{0};
  std::atomic<bool> stops_{false};
  std::exception_ptr failure_;
  std::mutex failure_mutex_;
  std::vector<std::thread> threads_;
};

}  // namespace retrosim::kernels
