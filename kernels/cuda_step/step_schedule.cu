// Selections that the executor is given instead of finding them.
#include <stdexcept>
#include <string>

#include "kernels/cuda_step/step_executor_impl.h"

namespace retrosim::kernels::cuda {
namespace {

void expect(std::string_view field, std::int64_t value, std::int64_t expected) {
  if (value != expected) {
    throw InputError("", "schedule." + std::string(field), std::to_string(value), std::to_string(expected));
  }
}

/// Every list ascends to the page being filled.
void check_pages(const SelectionSchedule& schedule, const SelectionSchedule::Layer& layer, int index,
                 std::int64_t page_size) {
  const std::int64_t lists = schedule.batch * schedule.num_kv_heads;
  for (std::int64_t row = 0; row < schedule.num_steps * lists; ++row) {
    const std::int64_t last = (schedule.first_context + row / lists - 1) / page_size;
    const std::int64_t count = layer.counts[static_cast<std::size_t>(row)];
    const auto pages = layer.pages.begin() + row * schedule.k_max;
    bool ascends = count >= 1 && count <= schedule.k_max;
    for (std::int64_t i = 0; ascends && i < count; ++i) {
      ascends = i + 1 < count ? pages[i] >= 0 && pages[i] < pages[i + 1] : pages[i] == last;
    }
    if (!ascends) {
      throw InputError("", "schedule.layers[" + std::to_string(index) + "]", "list " + std::to_string(row),
                       "ascending pages, the last of them the one being filled, " + std::to_string(last));
    }
  }
}

}  // namespace

void StepExecutor::follow(const SelectionSchedule& schedule) {
  Impl& impl = *impl_;
  if (impl.is_captured()) throw std::logic_error("StepExecutor: a step is already captured");
  expect("batch", schedule.batch, impl.config.batch);
  expect("num_kv_heads", schedule.num_kv_heads, impl.config.llm.num_kv_heads);
  expect("layers", static_cast<std::int64_t>(schedule.layers.size()), impl.config.llm.num_layers);
  if (schedule.num_steps < 1 || schedule.first_context < 1 || schedule.k_max > impl.state.k_max) {
    throw InputError("", "schedule", std::to_string(schedule.k_max) + " pages per list",
                     "at most " + std::to_string(impl.state.k_max) + ", for at least one step");
  }
  const std::int64_t rows = schedule.num_steps * schedule.batch * schedule.num_kv_heads;
  impl.scheduled_pages.clear();
  impl.scheduled_counts.clear();
  for (int i = 0; i < impl.config.llm.num_layers; ++i) {
    const SelectionSchedule::Layer& layer = schedule.layers[static_cast<std::size_t>(i)];
    const std::int64_t expected = impl.config.is_sparse(i) ? rows : 0;
    expect("layers[" + std::to_string(i) + "].counts", static_cast<std::int64_t>(layer.counts.size()), expected);
    expect("layers[" + std::to_string(i) + "].pages", static_cast<std::int64_t>(layer.pages.size()),
           expected * schedule.k_max);
    if (expected > 0) check_pages(schedule, layer, i, impl.config.page_size);
    impl.scheduled_pages.emplace_back(layer.pages);
    impl.scheduled_counts.emplace_back(layer.counts);
  }
  impl.schedule = {.k_max = schedule.k_max, .first_context = schedule.first_context, .num_steps = schedule.num_steps};
}

}  // namespace retrosim::kernels::cuda
