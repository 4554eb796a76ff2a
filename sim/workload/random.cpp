#include "sim/workload/random.h"

#include <algorithm>
#include <cmath>

namespace retrosim {
namespace {

constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // ln 2 = high + low; the high part has 11 trailing zero bits
constexpr double kLn2Low = 0x1.ef35793c76730p-45;

}  // namespace

double portable_log(double x) {
  int exponent = 0;
  double fraction = std::frexp(x, &exponent);  // exact
  if (fraction < 0x1.6a09e667f3bcdp-1) {       // below sqrt(1/2): keep the argument of the series small
    fraction *= 2;
    --exponent;
  }
  // ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.1716: s^23 / 23 is below 1e-18.
  const double s = (fraction - 1) / (fraction + 1);
  const double s2 = s * s;
  double series = 0;
  for (int odd = 23; odd >= 3; odd -= 2) series = (series + 1.0 / odd) * s2;
  return exponent * kLn2High + (exponent * kLn2Low + 2 * (s + s * series));
}

double portable_exp(double y) {
  const double steps = std::floor(y * 0x1.71547652b82fep0 + 0.5);
  const double r = (y - steps * kLn2High) - steps * kLn2Low;  // |r| <= ln(2) / 2: r^17 / 17! is below 1e-22
  double sum = 1;
  for (int n = 17; n >= 1; --n) sum = 1 + sum * r / n;
  return std::ldexp(sum, static_cast<int>(steps));
}

double RandomStream::normal() {
  for (;;) {
    const double u = 2 * uniform() - 1;
    const double v = 2 * uniform() - 1;
    const double s = u * u + v * v;
    if (s < 1 && s > 0) return u * std::sqrt(-2 * portable_log(s) / s);
  }
}

double RandomStream::exponential() { return -portable_log(uniform()); }

double RandomStream::gamma(double shape) {
  if (shape < 1) {
    const double boost = portable_exp(std::max(portable_log(uniform()) / shape, -690.0));
    return gamma(shape + 1) * boost;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = normal();
    const double t = 1 + c * x;
    if (t <= 0) continue;
    const double v = t * t * t;
    if (portable_log(uniform()) < 0.5 * x * x + d - d * v + d * portable_log(v)) return d * v;
  }
}

}  // namespace retrosim
