// What a replica's steps consist of.
#include <algorithm>

#include "sim/serving/replica.h"

namespace retrosim {

/// Counts the tokens as computed.
void Replica::take(Index index, std::int64_t tokens, Step& step) {
  Sequence& sequence = at(index);
  hold_blocks(sequence, sequence.computed + tokens);
  if (decoding(sequence)) {
    ++step.shape.decodes;
    step.shape.context_sum += sequence.computed + 1;
  } else {
    step.shape.add_chunk(tokens, sequence.computed);
  }
  sequence.computed += static_cast<std::int32_t>(tokens);
  const bool emits = sequence.computed == target(sequence);
  if (emits) ++sequence.expected;
  step.parts.push_back({index, emits});
}

void Replica::preempt_last(Step& step, TimePs now) {
  const Index index = running_.back();
  running_.pop_back();
  Sequence& victim = at(index);
  release_blocks(victim);
  victim.computed = 0;
  victim.waits = true;
  ++log_.requests[victim.request].preemptions;
  ++log_.totals.preemptions;
  if (log_.preemptions != nullptr) {
    log_.preemptions->push_back({now, victim.request, static_cast<std::int16_t>(index_)});
  }
  step.preempted = true;
  waiting_.push_front(index);
}

void Replica::schedule_running(Step& step, std::int64_t& rows_left, TimePs now) {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    const Sequence& sequence = at(running_[i]);
    if (sequence.expected == record_of(sequence).output_tokens) continue;      // its last token is on its way
    const std::int64_t rows = decoding(sequence) ? config_.decode.window : 1;  // per token
    const std::int64_t tokens = std::min(target(sequence) - sequence.computed, rows_left / rows);
    if (tokens == 0) continue;
    const std::int64_t more = needed_blocks(sequence, sequence.computed + tokens);
    while (more > free_ && i < running_.size()) preempt_last(step, now);
    if (i == running_.size()) break;  // it preempted itself
    take(running_[i], tokens, step);
    rows_left -= tokens * rows;
  }
}

void Replica::admit(Step& step, std::int64_t rows_left, TimePs now) {
  while (!waiting_.empty() && rows_left > 0 && running() < config_.max_num_seqs) {
    const Index index = waiting_.front();
    Sequence& head = at(index);
    PrefixCache::Hit hit;
    if (prefix_) hit = prefix_->find(head.table, target(head));
    const std::int64_t cached = hit.pages * config_.decode.page_size;
    const std::int64_t tokens = std::min(target(head) - cached, rows_left);
    const bool decodes = head.expected > 0 && cached + 1 == target(head);  // all but its last token was still there
    const std::int64_t rows = decodes ? config_.decode.window : tokens;
    if (rows > rows_left) return;
    const std::int64_t must_fit = config_.reserve_full_prompt ? target(head) : cached + tokens;
    if (blocks_.needed(must_fit) - hit.pages + hit.free > free_) return;
    RequestRecord& record = log_.requests[head.request];
    if (record.scheduled < 0) {
      record.scheduled = now;
      record.cached_tokens = static_cast<std::int32_t>(cached);
    }
    log_.totals.cached_tokens += cached;
    if (hit.pages > 0) {
      prefix_->hold(head.table, hit.pages);
      head.blocks = hit.pages;
      head.computed = static_cast<std::int32_t>(cached);
    }
    head.waits = false;
    running_.push_back(index);
    waiting_.pop_front();
    take(index, tokens, step);
    rows_left -= rows;
  }
}

void Replica::schedule(TimePs now, Step& step) {
  step.parts.clear();
  step.preempted = false;
  // After a sequence that was alone preempted itself, nothing runs and the queue is looked at again.
  for (int attempt = 0; attempt < 2; ++attempt) {
    step.shape = {};
    std::int64_t rows_left = config_.max_num_batched_tokens;
    step.preempted = false;
    schedule_running(step, rows_left, now);
    if (!step.preempted) admit(step, rows_left, now);
    if (!step.parts.empty()) break;
  }
  step.there = !step.parts.empty();
}

bool Replica::all_decode(const Step& step) const {
  return step.there && step.shape.prefill_chunks == 0 && step.shape.decodes == running() &&
         !(step.preempted && !waiting_.empty());
}

/// Steps like the current one in a row, the one that is scheduled behind it not counted.
std::int64_t Replica::run_length() const {
  if (costs_.always_exact()) return 1;  // no closed form
  if (!all_decode(current_) || (config_.async_scheduling && !all_decode(next_))) return 1;
  std::int64_t more = INT32_MAX;
  std::int64_t held = 0;
  for (const Index index : running_) {
    const Sequence& sequence = at(index);
    more = std::min<std::int64_t>(more, record_of(sequence).output_tokens - sequence.expected);
    held += sequence.blocks;
  }
  const auto fits = [&](std::int64_t steps) {
    std::int64_t blocks = 0;
    for (const Index index : running_) blocks += blocks_.needed(at(index).computed + steps);
    return blocks - held <= free_;
  };
  if (fits(more)) return 1 + more;
  std::int64_t low = 0;  // its blocks are taken already
  std::int64_t high = more;
  while (low + 1 < high) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return 1 + low;
}

}  // namespace retrosim
