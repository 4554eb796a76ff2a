// One model replica under continuous batching, as vLLM's v1 scheduler does it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "sim/serving/kv_blocks.h"
#include "sim/serving/prefix_cache.h"
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
  std::vector<StepRecord>* steps;        // null, like preemptions: not wanted
  std::vector<PreemptionRecord>* preemptions;
};

/// Each step, first the running sequences in the order of admission get their tokens (one when decoding, else what is
/// left of the prompt), as far as max_num_batched_tokens goes; a sequence that finds no free block preempts the one
/// admitted last, which loses its blocks, goes back to the head of the queue and recomputes. Then, unless somebody was
/// preempted, waiting requests are admitted in order while rows, sequences and blocks last; with prefix caching their
/// first cached blocks are computed already. (vLLM v1, vllm/v1/core/sched/scheduler.py, FCFS, speculation off.)
///
/// A step is scheduled when the one before has ended; with asynchronous scheduling when the one before begins, so that
/// the GPU never waits for the host: then a request is in no step before the next but one, and what a step frees is
/// there for the next but one. (vLLM v1, EngineCore.step_with_batch_queue and AsyncScheduler: a scheduled token counts
/// as there, and no step is scheduled beyond a request's last token.)
///
/// Steps in which nobody can join, leave or be preempted are taken as one run of steps: the batch is the same and every
/// context grows by one, so StepCosts has their time in closed form. An arrival cuts the run at the next step's end.
class Replica {
 public:
  /// `content` is needed with prefix caching, else null.
  Replica(int index, const ServingConfig& config, const KvBlocks& blocks, StepCosts& costs, ReplicaLog log,
          const PromptContent* content);

  /// Queues a request. Returns false when it can never run here (its record says why).
  bool submit(std::uint32_t request);
  bool busy() const { return end_ >= 0; }
  /// Requests queued or running.
  std::int64_t load() const { return static_cast<std::int64_t>(running_.size() + waiting_.size()); }
  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  /// Blocks that no sequence holds, those that hold a cached prefix included.
  std::int64_t free_blocks() const { return free_; }
  /// Free blocks that hold a cached prefix, or evictions so far; 0 without prefix caching.
  std::int64_t cached_blocks() const { return prefix_ ? prefix_->pool().cached() : 0; }
  std::int64_t evicted_blocks() const { return prefix_ ? prefix_->pool().evictions() : 0; }
  /// Pages at the beginning of a request's prompt that are cached here. Requires prefix caching.
  std::int64_t cached_pages(std::uint32_t request);
  /// Throws std::logic_error when the prefix cache is not sound. For tests: takes time in proportion to the blocks.
  void check() const;

  /// Begins the next run of steps at `now` and returns its end; -1 when there is nothing to do.
  TimePs begin(TimePs now);
  /// The end of the current run after an arrival at `now` that was submitted already.
  TimePs cut(TimePs now);
  /// Ends the run at its end: tokens are emitted, finished sequences leave.
  void complete();

  /// The first step of the current run, and how many like it follow.
  const StepShape& shape() const { return current_.shape; }

 private:
  using Index = std::int32_t;  // of a sequence
  struct Sequence {
    std::uint32_t request = 0;
    std::int32_t computed = 0;   // tokens in the cache, those of scheduled steps included
    std::int32_t expected = 0;   // tokens emitted, and those that scheduled steps will emit
    std::int32_t generated = 0;  // tokens emitted
    std::int64_t blocks = 0;     // held
    TimePs last_token = 0;
    PrefixCache::Table table = -1;
    bool waits = true;  // in waiting_, else in running_
    bool ended = false;
  };
  struct Part {
    Index sequence = 0;
    bool emits = false;  // the step computes the last token that was missing
  };
  struct Step {
    StepShape shape;
    std::vector<Part> parts;  // in the order of scheduling
    bool there = false;
    bool preempted = false;  // while it was scheduled: the queue was not looked at
  };

  Sequence& at(Index index) { return sequences_[static_cast<std::size_t>(index)]; }
  const Sequence& at(Index index) const { return sequences_[static_cast<std::size_t>(index)]; }
  const RequestRecord& record_of(const Sequence& sequence) const { return log_.requests[sequence.request]; }
  std::int64_t target(const Sequence& sequence) const;
  bool decoding(const Sequence& sequence) const;
  std::int64_t needed_blocks(const Sequence& sequence, std::int64_t tokens) const;
  void hold_blocks(Sequence& sequence, std::int64_t tokens);
  void release_blocks(Sequence& sequence);

  void schedule(TimePs now, Step& step);
  void schedule_running(Step& step, std::int64_t& rows_left, TimePs now);
  void admit(Step& step, std::int64_t rows_left, TimePs now);
  void take(Index index, std::int64_t tokens, Step& step);
  void preempt_last(Step& step, TimePs now);
  bool all_decode(const Step& step) const;
  std::int64_t run_length() const;

  void extend_by_run();
  void emit(const Part& part, TimePs first_end);
  void end(Index index);
  void log_run();
  void log_steps(TimePs first_end);
  void count_second(TimePs time, std::int64_t prompt_tokens, std::int64_t generated, std::int64_t finished);

  int index_;
  const ServingConfig& config_;
  const KvBlocks& blocks_;
  StepCosts& costs_;
  ReplicaLog log_;
  std::unique_ptr<PrefixCache> prefix_;
  std::int64_t free_;
  std::vector<Sequence> sequences_;
  std::vector<Index> unused_;   // of sequences_
  std::vector<Index> running_;  // in the order of admission
  std::deque<Index> waiting_;
  bool queue_was_empty_ = true;  // when the current run began
  Step current_;
  Step next_;  // with asynchronous scheduling: the step behind the current run's
  std::int64_t steps_ = 0;
  TimePs start_ = 0;
  TimePs end_ = -1;
};

}  // namespace retrosim
