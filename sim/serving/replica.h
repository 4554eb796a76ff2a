// One model replica under continuous batching, as vLLM's v1 scheduler does it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "sim/serving/kv_blocks.h"
#include "sim/serving/serving_log.h"
#include "sim/serving/step_costs.h"

namespace retrosim {

/// Where replicas write what happened.
struct ReplicaLog {
  std::vector<RequestRecord>& requests;
  DurationHistogram* gaps;             // null: not wanted
  std::vector<SecondRecord>* seconds;  // null: not wanted
  ServingTotals& totals;
  std::vector<std::uint32_t>& finished;  // requests that ended in the last step; cleared by whoever reads them
};

/// Each step, first the running sequences in the order of admission get their tokens (one when decoding, else what is
/// left of the prompt), as far as max_num_batched_tokens goes; a sequence that finds no free block preempts the one
/// admitted last, which loses its blocks, goes back to the head of the queue and recomputes. Then, unless somebody was
/// preempted, waiting requests are admitted in order while rows, sequences and blocks last. (vLLM v1,
/// vllm/v1/core/sched/scheduler.py, FCFS, prefix caching and speculation off.)
///
/// Steps in which nobody can join, leave or be preempted are taken as one run of steps: the batch is the same and every
/// context grows by one, so StepCosts has their time in closed form. An arrival cuts the run at the next step's end.
class Replica {
 public:
  Replica(int index, const ServingConfig& config, const KvBlocks& blocks, StepCosts& costs, ReplicaLog log);

  /// Queues a request. Returns false when it can never run here (its record says why).
  bool submit(std::uint32_t request);
  bool busy() const { return end_ >= 0; }
  /// Requests queued or running.
  std::int64_t load() const { return static_cast<std::int64_t>(running_.size() + waiting_.size()); }
  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t free_blocks() const { return free_; }

  /// Schedules the next run of steps from `now` and returns its end; -1 when there is nothing to do.
  TimePs begin(TimePs now);
  /// The end of the current run after an arrival at `now` that was submitted already.
  TimePs cut(TimePs now);
  /// Ends the run at its end: tokens are emitted, finished sequences leave.
  void complete();

  /// The first step of the current run, and how many like it follow.
  const StepShape& shape() const { return shape_; }

 private:
  struct Sequence {
    std::uint32_t request = 0;
    std::int32_t computed = 0;   // tokens in the cache
    std::int32_t generated = 0;  // tokens emitted
    std::int32_t scheduled = 0;  // tokens of the current step
    std::int64_t blocks = 0;
    TimePs last_token = 0;
  };

  std::int64_t target(const Sequence& sequence) const;
  bool decoding(const Sequence& sequence) const;
  void schedule(TimePs now);
  bool schedule_running(std::int64_t& rows_left);
  void admit(std::int64_t rows_left, TimePs now);
  void take(Sequence& sequence, std::int64_t tokens);
  void preempt_last();
  std::int64_t run_length(bool preempted) const;
  std::int64_t blocks_after(std::int64_t steps) const;
  void log_steps(TimePs first_end);
  void count_second(TimePs time, std::int64_t prompt_tokens, std::int64_t generated, std::int64_t finished);

  int index_;
  const ServingConfig& config_;
  const KvBlocks& blocks_;
  StepCosts& costs_;
  ReplicaLog log_;
  std::int64_t free_;
  std::vector<Sequence> running_;  // in the order of admission
  std::deque<Sequence> waiting_;
  bool queue_was_empty_ = true;  // when the current run began
  StepShape shape_;
  std::int64_t steps_ = 0;
  TimePs start_ = 0;
  TimePs end_ = -1;
};

}  // namespace retrosim
