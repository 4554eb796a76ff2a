// Every CUDA call's return code is looked at.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace retrosim::kernels::cuda {

/// A failed CUDA call: no fault of the input.
class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const char* call, const char* file, int line)
      : std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " +
                           cudaGetErrorName(code) + ": " + cudaGetErrorString(code)),
        code_(code) {}
  cudaError_t code() const { return code_; }

 private:
  cudaError_t code_;
};

inline void check(cudaError_t code, const char* call, const char* file, int line) {
  if (code != cudaSuccess) throw CudaError(code, call, file, line);
}

/// Whether there is a GPU that the kernels run on (compute capability 8.0 or later).
inline bool gpu_available() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return false;
  int major = 0;
  return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess && major >= 8;
}

/// An attribute of the current device.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice", __FILE__, __LINE__);
  check(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute", __FILE__, __LINE__);
  return value;
}

}  // namespace retrosim::kernels::cuda

/// Throws retrosim::kernels::cuda::CudaError unless `call` returns cudaSuccess.
#define RETROSIM_CUDA_CHECK(call) ::retrosim::kernels::cuda::check((call), #call, __FILE__, __LINE__)
