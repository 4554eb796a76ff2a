// Compiled with -mavx2 -mfma where the compiler knows them (kernels/CMakeLists.txt).
#if defined(__AVX2__) && defined(__FMA__)

#define FORWARD_MATH_EIGEN EigenAvx2
#include "kernels/forward/forward_math_body.inc"

namespace retrosim::kernels {

const ForwardMath* avx2_forward_math() {
  static constexpr ForwardMath kMath = math_of("avx2_fma");
  static const bool runs_here = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  return runs_here ? &kMath : nullptr;
}

}  // namespace retrosim::kernels

#else

#include "kernels/forward/forward_math.h"

namespace retrosim::kernels {

const ForwardMath* avx2_forward_math() { return nullptr; }

}  // namespace retrosim::kernels

#endif
