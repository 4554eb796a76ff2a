#pragma once

#include <cstdint>
#include <span>

namespace retrosim::kernels::host {

/// Copies the table's row of every token.
void embed(
    // [rows] token ids
    std::span<const std::int32_t> tokens,
    // [vocab, hidden]
    std::span<const float> table,
    // [rows, hidden]
    std::span<float> out);

}  // namespace retrosim::kernels::host
