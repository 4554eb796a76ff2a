#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/device_buffer.h"
#include "kernels/cuda_step/random_fill.h"
#include "kernels/matmul/lt_matmul_cuda.h"

namespace retrosim::kernels::cuda {
namespace {

void check_lt(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string(call) + ": " + cublasLtGetStatusString(status));
  }
}

// Row-major Y = X W^T is column-major Y^T = W X^T: operand A is W (k x n, transposed), B is X (k x m).
struct Problem {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr;
  cublasLtMatrixLayout_t b = nullptr;
  cublasLtMatrixLayout_t c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  double microseconds = 0;

  Problem(std::int64_t m, std::int64_t n, std::int64_t k, bool bias) {
    check_lt(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const cublasOperation_t transpose = CUBLAS_OP_T;
    check_lt(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose),
             "TRANSA");
    if (bias) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      check_lt(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue),
               "EPILOGUE");
    }
    const auto rows = static_cast<std::uint64_t>(k);
    check_lt(cublasLtMatrixLayoutCreate(&a, CUDA_R_16BF, rows, static_cast<std::uint64_t>(n), k), "layout of W");
    check_lt(cublasLtMatrixLayoutCreate(&b, CUDA_R_16BF, rows, static_cast<std::uint64_t>(m), k), "layout of X");
    check_lt(
        cublasLtMatrixLayoutCreate(&c, CUDA_R_16BF, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(m), n),
        "layout of Y");
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;
  ~Problem() {
    cublasLtMatrixLayoutDestroy(a);
    cublasLtMatrixLayoutDestroy(b);
    cublasLtMatrixLayoutDestroy(c);
    cublasLtMatmulDescDestroy(operation);
  }
};

}  // namespace

struct LtMatmul::State {
  explicit State(std::size_t workspace_bytes) : workspace(workspace_bytes) {
    check_lt(cublasLtCreate(&handle), "cublasLtCreate");
  }
  ~State() { cublasLtDestroy(handle); }

  cublasLtHandle_t handle = nullptr;
  DeviceBuffer<unsigned char> workspace;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, bool>, Problem> problems;

  void run(Problem& p, const void* x, const void* weights, const void* bias, void* y, cudaStream_t stream) {
    const float one = 1;
    const float zero = 0;
    if (bias != nullptr) {
      check_lt(
          cublasLtMatmulDescSetAttribute(p.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(const void*)),
          "BIAS_POINTER");
    }
    check_lt(cublasLtMatmul(handle, p.operation, &one, weights, p.a, x, p.b, &zero, y, p.c, y, p.c, &p.algorithm,
                            workspace.data(), workspace.size(), stream),
             "cublasLtMatmul");
  }
};

LtMatmul::LtMatmul(std::size_t workspace_bytes) : state_(std::make_unique<State>(workspace_bytes)) {}
LtMatmul::~LtMatmul() = default;

double LtMatmul::choose(std::int64_t m, std::int64_t n, std::int64_t k, bool bias) {
  const auto [found, is_new] = state_->problems.try_emplace({m, n, k, bias}, m, n, k, bias);
  Problem& problem = found->second;
  if (!is_new) return problem.microseconds;

  cublasLtMatmulPreference_t preference = nullptr;
  check_lt(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const std::size_t workspace = state_->workspace.size();
  check_lt(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                                sizeof workspace),
           "MAX_WORKSPACE_BYTES");
  std::array<cublasLtMatmulHeuristicResult_t, 16> candidates{};
  int count = 0;
  check_lt(cublasLtMatmulAlgoGetHeuristic(state_->handle, problem.operation, problem.a, problem.b, problem.c, problem.c,
                                          preference, static_cast<int>(candidates.size()), candidates.data(), &count),
           "cublasLtMatmulAlgoGetHeuristic");
  cublasLtMatmulPreferenceDestroy(preference);
  if (count == 0) throw std::runtime_error("cublasLt: no algorithm for this shape");

  // Several copies of W, so that timing does not see L2.
  const std::int64_t weights = n * k;
  const std::int64_t copies = std::clamp<std::int64_t>((256LL << 20) / (weights * 2), 1, 16);
  DeviceBuffer<__nv_bfloat16> w(static_cast<std::size_t>(weights * copies));
  DeviceBuffer<__nv_bfloat16> x(static_cast<std::size_t>(m * k));
  DeviceBuffer<__nv_bfloat16> y(static_cast<std::size_t>(m * n));
  DeviceBuffer<__nv_bfloat16> b(static_cast<std::size_t>(n));
  fill_random(w.data(), DType::bf16, weights * copies, 0.02F, 1, nullptr);
  fill_random(x.data(), DType::bf16, m * k, 1.0F, 2, nullptr);
  fill_random(b.data(), DType::bf16, n, 1.0F, 3, nullptr);
  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
  RETROSIM_CUDA_CHECK(cudaEventCreate(&start));
  RETROSIM_CUDA_CHECK(cudaEventCreate(&stop));
  constexpr int kRepeats = 9;
  cublasLtMatmulAlgo_t best{};
  double best_us = -1;
  for (int i = 0; i < count; ++i) {
    problem.algorithm = candidates[static_cast<std::size_t>(i)].algo;
    std::vector<float> times;
    for (int repeat = 0; repeat < kRepeats + 2; ++repeat) {
      RETROSIM_CUDA_CHECK(cudaEventRecord(start));
      state_->run(problem, x.data(), w.data() + repeat % copies * weights, bias ? b.data() : nullptr, y.data(),
                  nullptr);
      RETROSIM_CUDA_CHECK(cudaEventRecord(stop));
      RETROSIM_CUDA_CHECK(cudaEventSynchronize(stop));
      float milliseconds = 0;
      RETROSIM_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
      if (repeat >= 2) times.push_back(milliseconds);
    }
    std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
    const double us = 1e3 * times[kRepeats / 2];
    if (best_us < 0 || us < best_us) {
      best_us = us;
      best = problem.algorithm;
    }
  }
  RETROSIM_CUDA_CHECK(cudaEventDestroy(start));
  RETROSIM_CUDA_CHECK(cudaEventDestroy(stop));
  problem.algorithm = best;
  problem.microseconds = best_us;
  return best_us;
}

void LtMatmul::run(std::int64_t m, std::int64_t n, std::int64_t k, const __nv_bfloat16* x, const __nv_bfloat16* weights,
                   const __nv_bfloat16* bias, __nv_bfloat16* y, cudaStream_t stream) {
  const auto found = state_->problems.find({m, n, k, bias != nullptr});
  if (found == state_->problems.end()) throw std::logic_error("LtMatmul: choose() has not seen this shape");
  state_->run(found->second, x, weights, bias, y, stream);
}

}  // namespace retrosim::kernels::cuda
