// Drives a policy over one KV head's recorded rankings, step by step, and says what RetroAttention would find unseen -
// for every window at once, because being unseen is a statement about a page's age since it was last loaded
// (method.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/policy.h"
#include "traces/trace_reader.h"

namespace retrosim {

/// One KV head at one step. Spans are valid until the next step.
struct HeadStep {
  std::int64_t position = 0;
  std::int64_t num_pages = 0;
  std::int64_t pages_loaded = 0;      // |S_t|
  std::int64_t tokens_loaded = 0;     // on them: the page being filled counts its own
  std::int64_t pages_recalled = 0;    // of S_t, those that were not in GPU memory (policies that recall from the host)
  std::int64_t in_previous_topk = 0;  // pages of S_t that were in S_{t-1}
  /// Pages of S_t that were not in S_{t-1} but ranked among the 2|S_{t-1}| best at t-1: its next-k. -1: the ranking is
  /// cut off before that.
  std::int64_t in_previous_nextk = 0;
  /// [max_window]: unseen[s] = |U_s|, pages of S_t that query t-s has not seen and may see; unseen[0] = 0. As in a
  /// decode that starts at the first replayed step, there is no query older than that: unseen[s] = 0 for s > steps
  /// replayed before.
  std::span<const std::int64_t> unseen;
  /// [max_window], of query q = t - (max_window - 1), whose window ends with this step; empty while q was not replayed.
  /// retro_recall[n] is the share of its attention mass on S_q u S_{q+1} u ... u S_{q+n}; [0] is without retrospection.
  std::span<const double> retro_recall;
};

class HeadReplay {
 public:
  /// `policy` must outlive the replay. max_window in [1, kMaxWindow]. Without `with_recall` masses are not looked at.
  HeadReplay(const Policy& policy, int page_size, int max_window, bool with_recall);

  /// Forgets all steps.
  void reset();

  /// The next step; positions follow one another. Throws InputError when the ranking is too short for the policy.
  const HeadStep& advance(const HeadRanking& ranking);

  /// Steps replayed so far.
  std::int64_t num_steps() const { return num_steps_; }
  /// S_t of the latest step.
  std::span<const PageId> selected() const { return selected_; }

 private:
  void start_query(const HeadRanking& ranking);

  const Policy* policy_;
  int page_size_;
  int max_window_;
  bool with_recall_;
  std::int64_t num_steps_ = 0;
  std::int64_t previous_position_ = 0;
  bool previous_nextk_known_ = false;  // the previous ranking listed its 2k best
  HeadStep step_;
  SelectionMemory memory_;
  std::vector<PageId> selected_;
  std::vector<std::int32_t> last_loaded_;      // [pages], position; kNever
  std::vector<std::int32_t> last_in_twice_k_;  // [pages], position at which it last ranked among the 2k best
  std::vector<std::int64_t> unseen_;           // [max_window]
  // Ring over the last max_window queries, slot = position % max_window.
  std::size_t mass_stride_ = 0;  // pages
  std::vector<float> mass_;      // [max_window][mass_stride], of each page; 0 where not listed
  std::vector<double> gained_;   // [max_window queries][max_window], mass gained s steps later
  std::vector<double> total_;    // [max_window], mass of all pages
  std::vector<double> recall_;   // [max_window]
};

}  // namespace retrosim
