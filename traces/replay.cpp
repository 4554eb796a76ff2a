#include "traces/replay.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "model/decode_config.h"
#include "traces/total_mass.h"

namespace retrosim {
namespace {

// Far enough in the past that every age is cut to the window, near enough that ages do not overflow.
constexpr std::int32_t kNever = std::numeric_limits<std::int32_t>::min() / 2;

}  // namespace

HeadReplay::HeadReplay(const Policy& policy, int page_size, int max_window, bool with_recall)
    : policy_(&policy), page_size_(page_size), max_window_(max_window), with_recall_(with_recall) {
  if (max_window < 1 || max_window > kMaxWindow) throw std::invalid_argument("max_window outside [1, kMaxWindow]");
  if (page_size < 1) throw std::invalid_argument("page_size below 1");
  const auto window = static_cast<std::size_t>(max_window);
  unseen_.resize(window);
  if (with_recall) {
    gained_.resize(window * window);
    total_.resize(window);
    recall_.resize(window);
  }
}

void HeadReplay::reset() {
  num_steps_ = 0;
  memory_ = {};
  last_loaded_.clear();
  last_in_twice_k_.clear();
}

void HeadReplay::start_query(const HeadRanking& ranking) {
  const auto window = static_cast<std::size_t>(max_window_);
  const auto pages = static_cast<std::size_t>(ranking.num_pages);
  if (pages > mass_stride_) {
    const std::size_t stride = pages + pages / 2 + 64;
    std::vector<float> wider(window * stride);
    for (std::size_t row = 0; row < window; ++row) {
      std::copy_n(mass_.begin() + static_cast<std::ptrdiff_t>(row * mass_stride_), mass_stride_,
                  wider.begin() + static_cast<std::ptrdiff_t>(row * stride));
    }
    mass_.swap(wider);
    mass_stride_ = stride;
  }
  const auto slot = static_cast<std::size_t>(ranking.position) % window;
  float* mass = mass_.data() + slot * mass_stride_;
  if (ranking.pages.size() < pages) std::fill_n(mass, pages, 0.0F);
  for (std::size_t i = 0; i < ranking.pages.size(); ++i) mass[ranking.pages[i]] = ranking.mass[i];
  total_[slot] = total_mass(ranking);
  std::fill_n(gained_.begin() + static_cast<std::ptrdiff_t>(slot * window), window, 0.0);
}

const HeadStep& HeadReplay::advance(const HeadRanking& ranking) {
  if (num_steps_ > 0 && ranking.position != previous_position_ + 1) {
    throw std::invalid_argument("replayed steps must follow one another");
  }
  policy_->select_next(ranking.ranked(), page_size_, memory_, selected_);
  const auto pages = static_cast<std::size_t>(ranking.num_pages);
  if (last_loaded_.size() < pages) {
    last_loaded_.resize(pages, kNever);
    last_in_twice_k_.resize(pages, kNever);
  }
  if (with_recall_) start_query(ranking);

  const auto now = static_cast<std::int32_t>(ranking.position);
  const auto window = static_cast<std::size_t>(max_window_);
  // Older queries than the first replayed one do not exist.
  const auto oldest = static_cast<std::int32_t>(std::min<std::int64_t>(max_window_ - 1, num_steps_));
  std::fill(unseen_.begin(), unseen_.end(), 0);
  std::int64_t in_topk = 0;
  std::int64_t in_nextk = 0;
  for (const PageId page : selected_) {
    const std::int32_t last = last_loaded_[page];
    last_loaded_[page] = now;
    in_topk += last == now - 1 ? 1 : 0;
    in_nextk += last != now - 1 && last_in_twice_k_[page] == now - 1 ? 1 : 0;
    // Unseen by query t-s exactly when last < t-s and page * P <= t-s (method.md, step 4): for all s up to this one.
    const std::int32_t newest_token = now - static_cast<std::int32_t>(page) * page_size_;
    const std::int32_t reach = std::min({now - last - 1, newest_token, oldest});
    ++unseen_[static_cast<std::size_t>(reach)];
    if (with_recall_) {
      for (std::int32_t s = 1; s <= reach; ++s) {
        const auto query = static_cast<std::size_t>(now - s) % window;
        gained_[query * window + static_cast<std::size_t>(s)] += mass_[query * mass_stride_ + page];
      }
    }
  }
  for (std::size_t s = window - 1; s > 1; --s) unseen_[s - 1] += unseen_[s];
  unseen_[0] = 0;

  const auto loaded = static_cast<std::int64_t>(selected_.size());
  step_.position = ranking.position;
  step_.num_pages = ranking.num_pages;
  step_.pages_loaded = loaded;
  step_.pages_recalled = memory_.recalled;
  step_.tokens_loaded = loaded * page_size_;
  if (last_loaded_[pages - 1] == now) step_.tokens_loaded -= ranking.num_pages * page_size_ - (ranking.position + 1);
  step_.in_previous_topk = in_topk;
  step_.in_previous_nextk = num_steps_ > 0 && !previous_nextk_known_ ? -1 : in_nextk;
  step_.unseen = unseen_;

  const auto twice = static_cast<std::size_t>(std::min<std::int64_t>(2 * loaded, ranking.num_pages));
  previous_nextk_known_ = ranking.pages.size() >= twice;
  for (const PageId page : ranking.pages.first(std::min(twice, ranking.pages.size()))) last_in_twice_k_[page] = now;

  step_.retro_recall = {};
  if (with_recall_) {
    const auto slot = static_cast<std::size_t>(ranking.position) % window;
    double own = 0;
    for (const PageId page : selected_) own += mass_[slot * mass_stride_ + page];
    gained_[slot * window] = own;
    if (num_steps_ + 1 >= max_window_) {
      const auto query = static_cast<std::size_t>(ranking.position - (max_window_ - 1)) % window;
      std::partial_sum(gained_.begin() + static_cast<std::ptrdiff_t>(query * window),
                       gained_.begin() + static_cast<std::ptrdiff_t>((query + 1) * window), recall_.begin());
      for (double& recall : recall_) recall = total_[query] > 0 ? recall / total_[query] : 0.0;
      step_.retro_recall = recall_;
    }
  }
  previous_position_ = ranking.position;
  ++num_steps_;
  return step_;
}

}  // namespace retrosim
