#include "kernels/forward/workers.h"

#include <utility>

namespace retrosim::kernels {

Workers::Workers(int num_threads) {
  for (int i = 1; i < num_threads; ++i) threads_.emplace_back([this] { serve(); });
}

Workers::~Workers() {
  stops_ = true;
  ++round_;
  round_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::run(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  task_ = &task;
  count_ = count;
  next_ = 0;
  busy_ = static_cast<std::uint32_t>(threads_.size());
  ++round_;
  round_.notify_all();
  take_tasks();
  for (std::uint32_t busy = busy_; busy > 0; busy = busy_) busy_.wait(busy);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Workers::take_tasks() {
  try {
    for (std::int64_t i = next_++; i < count_; i = next_++) (*task_)(i);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_ = count_;
  }
}

void Workers::serve() {
  for (std::uint32_t round = 0;; ++round) {
    round_.wait(round);
    if (stops_) return;
    take_tasks();
    if (--busy_ == 0) busy_.notify_all();
  }
}

}  // namespace retrosim::kernels
