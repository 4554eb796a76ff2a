#define FORWARD_MATH_EIGEN EigenBaseline
#include "kernels/forward/forward_math_body.inc"

namespace retrosim::kernels {

const ForwardMath& baseline_forward_math() {
  static constexpr ForwardMath kMath = math_of("baseline");
  return kMath;
}

const ForwardMath& forward_math() {
  static const ForwardMath& chosen = avx2_forward_math() != nullptr ? *avx2_forward_math() : baseline_forward_math();
  return chosen;
}

}  // namespace retrosim::kernels
