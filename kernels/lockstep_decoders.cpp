#include "kernels/lockstep_decoders.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/forward/forward_math.h"

namespace retrosim::kernels {
namespace {

constexpr std::int64_t kColumnsPerTask = 96;
constexpr std::int64_t kRowsPerTask = 64;

}  // namespace

LockstepDecoders::LockstepDecoders(const LlmWeights& weights, const DenseForward& prompt, std::int64_t prompt_tokens,
                                   std::span<const LockstepMember> members, std::int64_t max_tokens, int num_threads)
    : workers_(num_threads) {
  if (members.empty()) throw std::invalid_argument("no decoders");
  const int page_size = members.front().config.page_size;
  int first_sparse = weights.llm.num_layers;
  for (const LockstepMember& member : members) first_sparse = std::min(first_sparse, member.config.dense_layers);
  const std::int64_t shared = prompt_tokens / page_size;
  const std::int64_t prompt_pages = (prompt_tokens + page_size - 1) / page_size;
  const std::int64_t all = (max_tokens + page_size - 1) / page_size;
  const std::int64_t own = all - shared;
  cache_ =
      std::make_shared<HostKvCache>(weights.llm, page_size, prompt_pages + std::ssize(members) * own, first_sparse);
  cache_->adopt(prompt, prompt_tokens);
  for (std::int64_t member = 0; member < std::ssize(members); ++member) {
    std::vector<std::int32_t> table(static_cast<std::size_t>(all));
    for (std::int64_t page = 0; page < all; ++page) {
      table[page] = static_cast<std::int32_t>(page < shared ? page : prompt_pages + member * own + page - shared);
    }
    if (prompt_pages > shared) cache_->copy_page(shared, table[shared]);
    HostDecoderOptions options = members[member].options;
    options.max_tokens = max_tokens;
    decoders_.emplace_back(weights, members[member].config, options, cache_, std::move(table), prompt_tokens);
  }
}

void LockstepDecoders::step(std::span<const std::int32_t> tokens) {
  std::vector<std::optional<PendingProduct>> products(decoders_.size());
  const auto advance = [&](std::int64_t member) { products[member] = decoders_[member].next_product(); };
  for (std::size_t member = 0; member < decoders_.size(); ++member) {
    decoders_[member].begin_step(tokens.subspan(member, 1));
  }
  while (true) {
    workers_.run(std::ssize(decoders_), advance);
    if (!products.front()) break;
    multiply(products);
  }
}

void LockstepDecoders::multiply(std::span<const std::optional<PendingProduct>> products) {
  const PendingProduct& first = *products.front();
  std::int64_t rows = 0;
  for (const std::optional<PendingProduct>& product : products) {
    if (!product || product->weight.data() != first.weight.data()) throw std::logic_error("decoders out of step");
    rows += product->m;
  }
  const std::int64_t n = first.n;
  const std::int64_t k = first.k;
  input_.clear();
  for (const std::optional<PendingProduct>& product : products) {
    input_.insert(input_.end(), product->input.begin(), product->input.begin() + product->m * k);
  }
  output_.resize(static_cast<std::size_t>(rows * n));
  const ForwardMath& math = forward_math();
  const std::int64_t column_tasks = (n + kColumnsPerTask - 1) / kColumnsPerTask;
  const std::int64_t row_tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  workers_.run(column_tasks * row_tasks, [&](std::int64_t task) {
    const std::int64_t column = task / row_tasks * kColumnsPerTask;
    const std::int64_t row = task % row_tasks * kRowsPerTask;
    math.multiply_transposed(std::min(kRowsPerTask, rows - row), std::min(kColumnsPerTask, n - column), k,
                             &input_[row * k], k, &first.weight[column * k], k, &output_[row * n + column], n);
  });
  for (std::int64_t i = 0; i < std::ssize(output_) && !first.bias.empty(); ++i) output_[i] += first.bias[i % n];
  auto from = output_.begin();
  for (std::size_t member = 0; member < decoders_.size(); ++member) {
    const auto end = from + products[member]->m * n;
    decoders_[member].supply({from, end});
    from = end;
  }
}

}  // namespace retrosim::kernels
