// `retrosim trace record --gpu`: the same recording as record_trace() (traces/record.h), made on the GPU.
#pragma once

#include <filesystem>

#include "model/dtype.h"
#include "traces/record.h"

namespace retrosim::gpu {

/// `dtype` of weights, activations and caches: f32 ranks pages as the CPU's recorder does, bf16 as a serving engine's
/// numbers do. options.chunk_tokens is not used. Throws InputError as record_trace() does, and without a GPU.
RecordResult record_trace_on_gpu(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                                 const RecordOptions& options, DType dtype, const std::filesystem::path& out);

}  // namespace retrosim::gpu
