#include <algorithm>

#include "kernels/embedding/embedding.h"

namespace retrosim::kernels::host {

void embed(std::span<const std::int32_t> tokens, std::span<const float> table, std::span<float> out) {
  if (tokens.empty()) return;
  const std::size_t hidden = out.size() / tokens.size();
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const auto from = table.subspan(static_cast<std::size_t>(tokens[row]) * hidden, hidden);
    std::copy(from.begin(), from.end(), out.begin() + static_cast<std::ptrdiff_t>(row * hidden));
  }
}

}  // namespace retrosim::kernels::host
