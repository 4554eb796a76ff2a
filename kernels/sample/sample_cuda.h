// Greedy sampling in one launch, and the end of a step: positions move on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda_step/product_view.h"

namespace retrosim::kernels::cuda {

/// Scratch memory of one sequence; zero before the first launch, and zero again after each.
struct SampleScratch {
  unsigned long long best = 0;
  unsigned int blocks_done = 0;
  unsigned int unused = 0;
};

struct SampleArgs {
  std::int64_t batch = 0;
  std::int64_t vocab_size = 0;  // a multiple of 8
  // [batch, vocab_size]
  ProductView logits;
  // [batch, window] token of each row: the arg max becomes row 0 and the others move down by one. Ties go to the lower
  // token; NaN never wins.
  std::int32_t* tokens = nullptr;
  int window = 1;
  // [batch]
  SampleScratch* scratch = nullptr;

  // Where the sequences stand, on the device so that a captured step can be replayed; null: not moved on.
  // [batch] incremented: the chosen token becomes the current one
  std::int32_t* context_lens = nullptr;
  // [batch] query rows that exist, in [1, window]; incremented up to `window`
  std::int32_t* num_rows = nullptr;
  // [batch] pages to select, read from `pages_by_context`
  std::int32_t* selected_pages = nullptr;
  // [longest context + 1]
  const std::int32_t* pages_by_context = nullptr;
};

/// Throws InputError for a vocabulary that it cannot do, CudaError when the launch fails.
void sample_greedily(const SampleArgs& args, cudaStream_t stream);

}  // namespace retrosim::kernels::cuda
