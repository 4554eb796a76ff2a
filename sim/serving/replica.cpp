#include "sim/serving/replica.h"

#include <algorithm>
#include <stdexcept>

namespace retrosim {

Replica::Replica(int index, const ServingConfig& config, const KvBlocks& blocks, StepCosts& costs, ReplicaLog log)
    : index_(index), config_(config), blocks_(blocks), costs_(costs), log_(log), free_(blocks.total()) {
  running_.reserve(static_cast<std::size_t>(config.max_num_seqs));
}

bool Replica::submit(std::uint32_t request) {
  RequestRecord& record = log_.requests[request];
  record.replica = static_cast<std::int16_t>(index_);
  const std::int64_t longest = std::int64_t{record.input_tokens} + record.output_tokens;
  if (longest > config_.context_limit()) {
    record.outcome = RequestOutcome::too_long;
  } else if (blocks_.needed(longest) > blocks_.total()) {
    record.outcome = RequestOutcome::too_big;
  } else {
    waiting_.push_back({.request = request});
    return true;
  }
  return false;
}

std::int64_t Replica::target(const Sequence& sequence) const {
  return std::int64_t{log_.requests[sequence.request].input_tokens} + sequence.generated;
}

bool Replica::decoding(const Sequence& sequence) const {
  return sequence.generated > 0 && sequence.computed + 1 == target(sequence);
}

void Replica::take(Sequence& sequence, std::int64_t tokens) {
  sequence.scheduled = static_cast<std::int32_t>(tokens);
  const std::int64_t needed = blocks_.needed(sequence.computed + tokens);
  free_ -= needed - sequence.blocks;
  sequence.blocks = needed;
  if (decoding(sequence)) {
    ++shape_.decodes;
    shape_.context_sum += sequence.computed + 1;
  } else {
    shape_.add_chunk(tokens, sequence.computed);
  }
}

void Replica::preempt_last() {
  Sequence victim = running_.back();
  running_.pop_back();
  free_ += victim.blocks;
  victim.blocks = 0;
  victim.computed = 0;
  victim.scheduled = 0;
  ++log_.requests[victim.request].preemptions;
  ++log_.totals.preemptions;
  waiting_.push_front(victim);
}

/// Returns true when somebody was preempted.
bool Replica::schedule_running(std::int64_t& rows_left) {
  bool preempted = false;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    const bool decodes = decoding(running_[i]);
    const std::int64_t rows = decodes ? config_.decode.window : 1;  // per token
    const std::int64_t wanted = target(running_[i]) - running_[i].computed;
    const std::int64_t tokens = std::min(wanted, rows_left / rows);
    running_[i].scheduled = 0;
    if (tokens == 0) continue;
    const std::int64_t more = blocks_.needed(running_[i].computed + tokens) - running_[i].blocks;
    while (more > free_ && i < running_.size()) {
      preempt_last();
      preempted = true;
    }
    if (i == running_.size()) break;  // it preempted itself
    take(running_[i], tokens);
    rows_left -= tokens * rows;
  }
  return preempted;
}

void Replica::admit(std::int64_t rows_left, TimePs now) {
  while (!waiting_.empty() && rows_left > 0 && running() < config_.max_num_seqs) {
    Sequence& head = waiting_.front();
    const std::int64_t tokens = std::min(target(head), rows_left);
    const std::int64_t must_fit = config_.reserve_full_prompt ? target(head) : tokens;
    if (blocks_.needed(must_fit) > free_) return;
    RequestRecord& record = log_.requests[head.request];
    if (record.scheduled < 0) record.scheduled = now;
    running_.push_back(head);
    waiting_.pop_front();
    take(running_.back(), tokens);
    rows_left -= tokens;
  }
}

/// Blocks that all running sequences hold after `steps` further decode tokens each.
std::int64_t Replica::blocks_after(std::int64_t steps) const {
  std::int64_t blocks = 0;
  for (const Sequence& sequence : running_) blocks += blocks_.needed(sequence.computed + steps);
  return blocks;
}

std::int64_t Replica::run_length(bool preempted) const {
  if (costs_.always_exact()) return 1;  // no closed form
  if (shape_.prefill_chunks > 0 || shape_.decodes != running()) return 1;
  if (preempted && !waiting_.empty()) return 1;  // the queue was not looked at
  std::int64_t steps = INT32_MAX;
  for (const Sequence& sequence : running_) {
    steps = std::min<std::int64_t>(steps, log_.requests[sequence.request].output_tokens - sequence.generated);
  }
  const std::int64_t used = blocks_.total() - free_;
  const auto fits = [&](std::int64_t n) { return blocks_after(n) - used <= free_; };
  if (fits(steps)) return steps;
  std::int64_t low = 1;  // its blocks are taken already
  std::int64_t high = steps;
  while (low + 1 < high) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

TimePs Replica::begin(TimePs now) {
  if (load() == 0) return -1;
  start_ = now;
  bool preempted = false;
  // After a sequence that was alone preempted itself, nothing runs and the queue is looked at again.
  for (int attempt = 0; attempt < 2; ++attempt) {
    shape_ = {};
    std::int64_t rows_left = config_.max_num_batched_tokens;
    preempted = schedule_running(rows_left);
    if (!preempted) admit(rows_left, now);
    if (shape_.decodes + shape_.prefill_chunks > 0) break;
  }
  if (shape_.decodes + shape_.prefill_chunks == 0) throw std::logic_error("replica: queued requests but no step");
  queue_was_empty_ = waiting_.empty();
  log_.totals.max_running = std::max(log_.totals.max_running, running());
  steps_ = run_length(preempted);
  end_ = start_ + (steps_ == 1 ? costs_.step(shape_) : costs_.decode_run(shape_.decodes, shape_.context_sum, steps_));
  return end_;
}

TimePs Replica::cut(TimePs now) {
  if (steps_ > 1 && queue_was_empty_ && running() < config_.max_num_seqs && now < end_) {
    const std::int64_t steps = costs_.decode_steps_until(shape_.decodes, shape_.context_sum, steps_, now - start_);
    if (steps < steps_) {
      steps_ = steps;
      end_ = start_ + costs_.decode_run(shape_.decodes, shape_.context_sum, steps_);
    }
  }
  return end_;
}

void Replica::count_second(TimePs time, std::int64_t prompt_tokens, std::int64_t generated, std::int64_t finished) {
  if (log_.seconds == nullptr) return;
  const auto second = static_cast<std::size_t>(time / static_cast<TimePs>(kPsPerSecond));
  if (second >= log_.seconds->size()) log_.seconds->resize(second + 1);
  SecondRecord& record = (*log_.seconds)[second];
  record.prompt_tokens += prompt_tokens;
  record.generated_tokens += generated;
  record.finished += finished;
}

/// Steps after the first of a run, one by one: their gaps and tokens. All sequences of the batch took part in the step
/// before.
void Replica::log_steps(TimePs first_end) {
  TimePs time = first_end;
  for (std::int64_t i = 1; i < steps_; ++i) {
    const TimePs step = costs_.decode_run(shape_.decodes, shape_.context_sum + i * shape_.decodes, 1);
    time += step;
    log_.gaps->add(step, static_cast<std::uint64_t>(shape_.decodes));
    count_second(time, 0, shape_.decodes, 0);
  }
  if (time != end_) throw std::logic_error("replica: a run of steps does not add up");
}

void Replica::complete() {
  const TimePs first_end = steps_ == 1 ? end_ : start_ + costs_.step(shape_);
  ServingTotals& totals = log_.totals;
  totals.steps += steps_;
  totals.prompt_tokens += shape_.prefill_tokens;
  if (shape_.prefill_chunks > 0) ++totals.prefill_steps;
  totals.decode_seconds += seconds_from_ps(end_ - start_);
  totals.batch_seconds += seconds_from_ps(end_ - start_) * static_cast<double>(shape_.decodes);
  std::int64_t emitted = 0;
  std::size_t kept = 0;
  for (Sequence& sequence : running_) {
    if (sequence.scheduled > 0) {
      sequence.computed += sequence.scheduled;
      if (sequence.computed == target(sequence)) {
        RequestRecord& record = log_.requests[sequence.request];
        if (sequence.generated == 0) {
          record.first_token = first_end;
        } else if (log_.gaps != nullptr) {
          log_.gaps->add(first_end - sequence.last_token, 1);
        }
        ++sequence.generated;
        ++emitted;
        if (steps_ > 1) {
          sequence.generated += static_cast<std::int32_t>(steps_ - 1);
          sequence.computed += static_cast<std::int32_t>(steps_ - 1);
          const std::int64_t needed = blocks_.needed(sequence.computed);
          free_ -= needed - sequence.blocks;
          sequence.blocks = needed;
        }
        sequence.last_token = end_;
        if (sequence.generated == record.output_tokens) {
          record.finish = end_;
          record.outcome = RequestOutcome::finished;
          free_ += sequence.blocks;
          log_.finished.push_back(sequence.request);
          continue;
        }
      }
    }
    running_[kept++] = sequence;
  }
  count_second(first_end, shape_.prefill_tokens, emitted, 0);
  totals.generated_tokens += emitted + (steps_ - 1) * shape_.decodes;
  if (steps_ > 1 && log_.gaps != nullptr) log_steps(first_end);
  const auto ended = static_cast<std::int64_t>(running_.size() - kept);
  running_.resize(kept);
  count_second(end_, 0, 0, ended);
  if (free_ < 0 || free_ > blocks_.total()) throw std::logic_error("replica: KV blocks are not conserved");
  end_ = -1;
}

}  // namespace retrosim
