#include <cmath>
#include <random>

#include "calibrate/gpu/unseen_pages.h"

namespace retrosim::gpu {
namespace {

using namespace retrosim::kernels::cuda;

constexpr double kLeaves = 0.2;  // chance that an age ends here, for pages that the query before has not seen

/// Older query s of the query at `position` has not seen a page last loaded at `last` (-1: never) when last <
/// position - s and the page begins at or before position - s.
void add_page(UnseenPages& unseen, std::int64_t position, std::int64_t page_begin, std::int64_t last, int window) {
  for (int s = 1; s < window; ++s) {
    const std::int64_t at = position - s;
    if (!(last < at && page_begin <= at)) break;  // the unseen sets nest
    ++unseen.visits;
    unseen.union_ += s == 1 ? 1 : 0;
  }
}

}  // namespace

UnseenPages set_ages(DecodeState& state, const StepExecutor& executor, int layer, int page_size, double seen_share) {
  DecodeLayerState& layer_state = state.layers[static_cast<std::size_t>(layer)];
  const std::vector<std::int32_t> lens = state.context_lens.download();
  std::vector<std::int32_t> last(layer_state.last_loaded.size(), -1);
  std::mt19937 random(static_cast<std::uint32_t>(layer) + 7);
  std::uniform_real_distribution<double> uniform;
  UnseenPages unseen;
  std::size_t list = 0;
  const auto selected = executor.selected(layer);
  for (std::size_t b = 0; b < selected.size(); ++b) {
    const std::int64_t position = lens[b] - 1;
    for (const auto& pages : selected[b]) {
      for (const std::int32_t page : pages) {
        std::int64_t age = 1;
        if (uniform(random) >= seen_share) {
          age = 2 + static_cast<std::int64_t>(std::log(1 - uniform(random)) / std::log(1 - kLeaves));
        }
        const std::int64_t loaded = position - age;
        last[list * static_cast<std::size_t>(state.max_pages) + static_cast<std::size_t>(page)] =
            static_cast<std::int32_t>(loaded);
        add_page(unseen, position, std::int64_t{page} * page_size, loaded, state.window);
      }
      ++list;
    }
  }
  layer_state.last_loaded.upload(last);
  return unseen;
}

UnseenPages count_in_step(DecodeState& state, StepExecutor& executor, int layer, int page_size, cudaStream_t stream) {
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  const std::vector<std::int32_t> lens = state.context_lens.download();
  const std::vector<std::int32_t> last = state.layers[static_cast<std::size_t>(layer)].last_loaded.download();
  executor.replay(stream);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(stream));
  UnseenPages unseen;
  std::size_t list = 0;
  const auto selected = executor.selected(layer);
  for (std::size_t b = 0; b < selected.size(); ++b) {
    for (const auto& pages : selected[b]) {
      for (const std::int32_t page : pages) {
        add_page(unseen, lens[b] - 1, std::int64_t{page} * page_size,
                 last[list * static_cast<std::size_t>(state.max_pages) + static_cast<std::size_t>(page)], state.window);
      }
      ++list;
    }
  }
  return unseen;
}

}  // namespace retrosim::gpu
