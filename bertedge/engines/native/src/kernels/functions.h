// Functions of vectors, on top of a simd_*.h file.
#pragma once
#include <type_traits>

#include "../kernels.h"

namespace bertedge {
namespace {

// 2^x for x <= 127, within 2e-7 of itself; 0 below -126. The series of 2^f, on [-1/2, 1/2].
inline Floats exp2(Floats x) {
  x = max(all(-126.0f), x);  // in this order NaN stays NaN
  const Floats n = round(x), f = x - n;
  Floats p = fma(f, all(1.54035303933816e-4f), all(1.33335581464284e-3f));
  p = fma(p, f, all(9.61812910762848e-3f));
  p = fma(p, f, all(5.55041086648216e-2f));
  p = fma(p, f, all(2.40226506959101e-1f));
  p = fma(p, f, all(6.93147180559945e-1f));
  p = fma(p, f, all(1.0f));
  return scale_by_power(p, n);
}

constexpr float kLog2E = 1.44269504088896f;

inline Floats exp(Floats x) { return exp2(min(all(88.0f), x) * all(kLog2E)); }

// Abramowitz and Stegun 1964, equation 7.1.26: within 1.5e-7.
inline Floats erf(Floats x) {
  const Floats a = absolute(x), t = all(1.0f) / fma(a, all(0.3275911f), all(1.0f));
  Floats p = fma(t, all(1.061405429f), all(-1.453152027f));
  p = fma(p, t, all(1.421413741f));
  p = fma(p, t, all(-0.284496736f));
  p = fma(p, t, all(0.254829592f));
  const Floats y = fma(p * t, all(-1.0f) * exp2(a * a * all(-kLog2E)), all(1.0f));
  return with_sign(y, x);
}

inline Floats tanh(Floats x) {
  const Floats a = min(absolute(x), all(10.0f));
  const Floats e = exp2(a * all(-2 * kLog2E));
  const Floats near_one = (all(1.0f) - e) / (all(1.0f) + e);
  // For small x the quotient would lose digits: tanh x = x - x^3 / 3 + 2 x^5 / 15 - ...
  const Floats s = a * a;
  const Floats series = a * fma(s, fma(s, all(0.133333333f), all(-0.333333333f)), all(1.0f));
  const Floats small = min(max((all(0.0625f) - a) * all(1e9f), all(0.0f)), all(1.0f));  // 1 below 1/16, else 0
  return with_sign(fma(small, series - near_one, near_one), x);
}

inline Floats gelu(Floats x) {
  const Floats half = all(0.5f) * x;
  return fma(half, erf(x * all(0.707106781f)), half);
}

inline Floats gelu_tanh(Floats x) {
  const Floats inner = all(0.797884561f) * fma(x * x * x, all(0.044715f), x), half = all(0.5f) * x;
  return fma(half, tanh(inner), half);
}

template <Activation A>
inline Floats activated(Floats x) {
  if constexpr (A == Activation::kGelu) return gelu(x);
  if constexpr (A == Activation::kGeluTanh) return gelu_tanh(x);
  if constexpr (A == Activation::kRelu) return max(x, all(0.0f));
  if constexpr (A == Activation::kSilu) return x / (all(1.0f) + exp(all(0.0f) - x));
  if constexpr (A == Activation::kTanh) return tanh(x);
  return x;
}

// Calls work with a compile-time constant of the activation.
template <class Work>
inline void with_activation(Activation activation, Work&& work) {
  switch (activation) {
#define BERTEDGE_CASE(NAME) \
  case Activation::NAME: return work(std::integral_constant<Activation, Activation::NAME>())
    BERTEDGE_CASE(kIdentity);
    BERTEDGE_CASE(kGelu);
    BERTEDGE_CASE(kGeluTanh);
    BERTEDGE_CASE(kRelu);
    BERTEDGE_CASE(kSilu);
    BERTEDGE_CASE(kTanh);
#undef BERTEDGE_CASE
  }
}

}  // namespace
}  // namespace bertedge
