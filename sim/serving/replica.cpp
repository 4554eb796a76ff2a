#include "sim/serving/replica.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace retrosim {

Replica::Replica(int index, const ServingConfig& config, const KvBlocks& blocks, StepCosts& costs, ReplicaLog log,
                 const PromptContent* content)
    : index_(index), config_(config), blocks_(blocks), costs_(costs), log_(log), free_(blocks.total()) {
  running_.reserve(static_cast<std::size_t>(config.max_num_seqs));
  if (config.prefix_caching) {
    prefix_ = std::make_unique<PrefixCache>(blocks.total(), config.decode.page_size, *content);
  }
}

bool Replica::submit(std::uint32_t request) {
  RequestRecord& record = log_.requests[request];
  record.replica = static_cast<std::int16_t>(index_);
  const std::int64_t longest = std::int64_t{record.input_tokens} + record.output_tokens;
  if (longest > config_.context_limit()) {
    record.outcome = RequestOutcome::too_long;
    return false;
  }
  if (blocks_.needed(longest) > blocks_.total()) {
    record.outcome = RequestOutcome::too_big;
    return false;
  }
  if (unused_.empty()) {
    unused_.push_back(static_cast<Index>(sequences_.size()));
    sequences_.emplace_back();
  }
  const Index index = unused_.back();
  unused_.pop_back();
  at(index) = {.request = request};
  if (prefix_) at(index).table = prefix_->open(request);
  waiting_.push_back(index);
  return true;
}

std::int64_t Replica::cached_pages(std::uint32_t request) {
  const PrefixCache::Table table = prefix_->open(request);
  const PrefixCache::Hit hit = prefix_->find(table, log_.requests[request].input_tokens);
  prefix_->close(table);
  return hit.pages;
}

void Replica::check() const {
  if (prefix_) prefix_->pool().check();
}

std::int64_t Replica::target(const Sequence& sequence) const {
  return std::int64_t{record_of(sequence).input_tokens} + sequence.expected;
}

bool Replica::decoding(const Sequence& sequence) const {
  return sequence.expected > 0 && sequence.computed + 1 == target(sequence);
}

/// Blocks that the sequence lacks to hold `tokens` tokens.
std::int64_t Replica::needed_blocks(const Sequence& sequence, std::int64_t tokens) const {
  return blocks_.needed(tokens) - sequence.blocks;
}

void Replica::hold_blocks(Sequence& sequence, std::int64_t tokens) {
  const std::int64_t more = needed_blocks(sequence, tokens);
  sequence.blocks += more;
  if (prefix_) {
    prefix_->grow(sequence.table, tokens, blocks_.fixed_blocks());
    free_ = prefix_->pool().free();
  } else {
    free_ -= more;
  }
}

void Replica::release_blocks(Sequence& sequence) {
  if (prefix_) {
    prefix_->release(sequence.table);
    free_ = prefix_->pool().free();
  } else {
    free_ += sequence.blocks;
  }
  sequence.blocks = 0;
}

TimePs Replica::begin(TimePs now) {
  if (load() == 0) return -1;
  start_ = now;
  if (next_.there) {
    std::swap(current_, next_);
    next_.there = false;
  } else {
    schedule(now, current_);
    if (!current_.there) throw std::logic_error("replica: queued requests but no step");
  }
  if (config_.async_scheduling) schedule(now, next_);
  queue_was_empty_ = waiting_.empty();
  log_.totals.max_running = std::max(log_.totals.max_running, running());
  steps_ = run_length();
  const StepShape& shape = current_.shape;
  end_ = start_ + (steps_ == 1 ? costs_.step(shape) : costs_.decode_run(shape.decodes, shape.context_sum, steps_));
  return end_;
}

TimePs Replica::cut(TimePs now) {
  if (steps_ > 1 && queue_was_empty_ && running() < config_.max_num_seqs && now < end_) {
    const StepShape& shape = current_.shape;
    const std::int64_t steps = costs_.decode_steps_until(shape.decodes, shape.context_sum, steps_, now - start_);
    if (steps < steps_) {
      steps_ = steps;
      end_ = start_ + costs_.decode_run(shape.decodes, shape.context_sum, steps_);
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

void Replica::log_run() {
  if (log_.steps == nullptr) return;
  log_.steps->push_back({.start = start_,
                         .end = end_,
                         .shape = current_.shape,
                         .steps = steps_,
                         .running = running(),
                         .waiting = waiting(),
                         .kv_blocks_used = blocks_.total() - free_,
                         .kv_blocks_cached = cached_blocks(),
                         .replica = static_cast<std::int16_t>(index_)});
}

/// Steps after the first of a run, one by one: their gaps and tokens. All sequences of the batch took part in the step
/// before.
void Replica::log_steps(TimePs first_end) {
  TimePs time = first_end;
  const StepShape& shape = current_.shape;
  for (std::int64_t i = 1; i < steps_; ++i) {
    const TimePs step = costs_.decode_run(shape.decodes, shape.context_sum + i * shape.decodes, 1);
    time += step;
    log_.gaps->add(step, static_cast<std::uint64_t>(shape.decodes));
    count_second(time, 0, shape.decodes, 0);
  }
  if (time != end_) throw std::logic_error("replica: a run of steps does not add up");
}

/// What the steps after the first of a run have scheduled, now that their number is known.
void Replica::extend_by_run() {
  const std::int64_t more = steps_ - 1;
  for (const Part& part : current_.parts) {
    Sequence& sequence = at(part.sequence);
    hold_blocks(sequence, sequence.computed + more);
    sequence.computed += static_cast<std::int32_t>(more);
    sequence.expected += static_cast<std::int32_t>(more);
    sequence.generated += static_cast<std::int32_t>(more);
  }
  next_.shape.context_sum += more * next_.shape.decodes;
}

void Replica::end(Index index) {
  Sequence& sequence = at(index);
  RequestRecord& record = log_.requests[sequence.request];
  record.finish = end_;
  record.outcome = RequestOutcome::finished;
  release_blocks(sequence);
  if (prefix_) prefix_->close(sequence.table);
  sequence.ended = true;
  log_.finished.push_back(sequence.request);
}

void Replica::emit(const Part& part, TimePs first_end) {
  Sequence& sequence = at(part.sequence);
  if (sequence.generated == 0) {
    log_.requests[sequence.request].first_token = first_end;
  } else if (log_.gaps != nullptr) {
    log_.gaps->add(first_end - sequence.last_token, 1);
  }
  ++sequence.generated;
  sequence.last_token = end_;
}

void Replica::complete() {
  const StepShape& shape = current_.shape;
  log_run();
  const TimePs first_end = steps_ == 1 ? end_ : start_ + costs_.step(shape);
  ServingTotals& totals = log_.totals;
  totals.steps += steps_;
  totals.prompt_tokens += shape.prefill_tokens;
  if (shape.prefill_chunks > 0) ++totals.prefill_steps;
  totals.decode_seconds += seconds_from_ps(end_ - start_);
  totals.batch_seconds += seconds_from_ps(end_ - start_) * static_cast<double>(shape.decodes);
  std::int64_t emitted = 0;
  for (const Part& part : current_.parts) {
    if (!part.emits) continue;
    emit(part, first_end);
    ++emitted;
  }
  if (steps_ > 1) extend_by_run();
  bool some_ended = false;
  bool waiting_ended = false;
  std::int64_t ended = 0;
  for (const Part& part : current_.parts) {
    const Sequence& sequence = at(part.sequence);
    if (!part.emits || sequence.generated < record_of(sequence).output_tokens) continue;
    (sequence.waits ? waiting_ended : some_ended) = true;
    end(part.sequence);
    ++ended;
  }
  const auto has_ended = [&](Index index) { return at(index).ended; };
  if (some_ended) std::erase_if(running_, has_ended);
  if (waiting_ended) std::erase_if(waiting_, has_ended);  // preempted while its last token was on its way
  for (const Part& part : current_.parts) {
    if (has_ended(part.sequence)) unused_.push_back(part.sequence);
  }
  count_second(first_end, shape.prefill_tokens, emitted, 0);
  totals.generated_tokens += emitted + (steps_ - 1) * shape.decodes;
  if (steps_ > 1 && log_.gaps != nullptr) log_steps(first_end);
  count_second(end_, 0, 0, ended);
  if (free_ < 0 || free_ > blocks_.total()) throw std::logic_error("replica: KV blocks are not conserved");
  end_ = -1;
}

}  // namespace retrosim
