#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/cuda_step/device_linear.h"
#include "kernels/cuda_step/random_fill.h"
#include "kernels/matmul/plain_matmul_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

std::vector<__nv_bfloat16> to_bf16(std::span<const float> values) {
  std::vector<__nv_bfloat16> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = __float2bfloat16(values[i]);
  return out;
}

}  // namespace

DeviceLinear::DeviceLinear(std::int64_t n, std::int64_t k, DType dtype, bool has_bias, std::int64_t max_rows)
    : n_(n), k_(k), dtype_(dtype), has_bias_(has_bias) {
  if (dtype != DType::bf16 && dtype != DType::f32) {
    throw InputError("", "weight_dtype", name_of(dtype), "bfloat16 or float32");
  }
  if (dtype == DType::f32) {
    path_ = MatmulPath::plain;
  } else if (max_rows <= kSkinnyMaxRows) {
    path_ = MatmulPath::skinny;
    plan_ = plan_skinny_matmul(n, k);
  } else {
    path_ = MatmulPath::lt;
  }
  const std::int64_t bytes = path_ == MatmulPath::skinny ? plan_.packed_bytes() : bytes_of(dtype, n * k);
  weights_ = DeviceBuffer<unsigned char>(static_cast<std::size_t>(bytes));
  if (has_bias) bias_ = DeviceBuffer<unsigned char>(static_cast<std::size_t>(bytes_of(dtype, n)));
}

void DeviceLinear::fill_random(std::uint64_t seed, cudaStream_t stream) {
  const auto count = static_cast<std::int64_t>(weights_.size()) * 8 / bits_of(dtype_);
  const float amplitude = std::sqrt(3.0F / static_cast<float>(k_));
  cuda::fill_random(weights_.data(), dtype_, count, amplitude, seed, stream);
  if (has_bias_) cuda::fill_random(bias_.data(), dtype_, n_, amplitude, seed ^ 0x5bd1e995U, stream);
}

void DeviceLinear::upload(std::span<const float> weights, std::span<const float> bias) {
  if (static_cast<std::int64_t>(weights.size()) != n_ * k_ ||
      static_cast<std::int64_t>(bias.size()) != (has_bias_ ? n_ : 0)) {
    throw std::logic_error("DeviceLinear: weights of another shape");
  }
  const auto copy = [this](DeviceBuffer<unsigned char>& to, std::span<const float> from) {
    if (dtype_ == DType::f32) {
      RETROSIM_CUDA_CHECK(cudaMemcpy(to.data(), from.data(), from.size_bytes(), cudaMemcpyHostToDevice));
    } else {
      const std::vector<__nv_bfloat16> half = to_bf16(from);
      RETROSIM_CUDA_CHECK(cudaMemcpy(to.data(), half.data(), half.size() * 2, cudaMemcpyHostToDevice));
    }
  };
  if (has_bias_) copy(bias_, bias);
  if (path_ != MatmulPath::skinny) {
    copy(weights_, weights);
    return;
  }
  const DeviceBuffer<__nv_bfloat16> plain(to_bf16(weights));
  pack_skinny_weights(plan_, plain.data(), weights_.data(), nullptr);
  RETROSIM_CUDA_CHECK(cudaStreamSynchronize(nullptr));
}

std::int64_t DeviceLinear::output_bytes(std::int64_t rows) const {
  if (path_ == MatmulPath::skinny && plan_.splits > 1) return rows * n_ * plan_.splits * 4;
  return bytes_of(dtype_, rows * n_);
}

ProductView DeviceLinear::run(const void* x, std::int64_t rows, void* output, LtMatmul* lt, int sm_count,
                              const Prefetch& prefetch, cudaStream_t stream) const {
  ProductView view{.data = output, .dtype = dtype_};
  const void* bias = has_bias_ ? bias_.data() : nullptr;
  switch (path_) {
    case MatmulPath::plain:
      plain_matmul(rows, n_, k_, static_cast<const float*>(x), reinterpret_cast<const float*>(weights_.data()),
                   static_cast<const float*>(bias), static_cast<float*>(output), stream);
      break;
    case MatmulPath::skinny: {
      SkinnyMatmulArgs args{.rows = static_cast<int>(rows),
                            .x = static_cast<const __nv_bfloat16*>(x),
                            .x_row_stride = k_,
                            .packed = weights_.data(),
                            .bias = static_cast<const __nv_bfloat16*>(bias),
                            .prefetch_bytes_per_block = prefetch.own_bytes};
      if (prefetch.next != nullptr && prefetch.next->path_ == MatmulPath::skinny) {
        args.next_packed = prefetch.next->weights_.data();
        args.next_plan = prefetch.next->plan_;
        args.next_prefetch_bytes_per_block = prefetch.next_bytes;
      }
      if (plan_.splits > 1) {
        args.partials = static_cast<float*>(output);
        view = {.data = output, .dtype = DType::f32, .splits = plan_.splits, .split_stride = rows * n_};
      } else {
        args.y = static_cast<__nv_bfloat16*>(output);
      }
      skinny_matmul(plan_, args, sm_count, stream);
      break;
    }
    case MatmulPath::lt:
      if (lt == nullptr) throw std::logic_error("DeviceLinear: this path needs an LtMatmul");
      lt->run(rows, n_, k_, static_cast<const __nv_bfloat16*>(x),
              reinterpret_cast<const __nv_bfloat16*>(weights_.data()), static_cast<const __nv_bfloat16*>(bias),
              static_cast<__nv_bfloat16*>(output), stream);
      break;
  }
  return view;
}

}  // namespace retrosim::kernels::cuda
