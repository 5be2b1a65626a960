// Functions of vectors, on top of a simd_*.h file.
#pragma once
#include <type_traits>

#include "../kernels.h"

namespace bertedge {
namespace {

// 2^x for x <= 127, within 2.2e-7 of itself; at least 2^-126. The polynomial is 2^f on [-1/2, 1/2] with the least
// relative error of its degree.
inline Floats exp2(Floats x) {
  x = max(all(-126.0f), x);  // in this order NaN stays NaN
  const Floats n = round(x), f = x - n;
  Floats p = fma(f, all(1.3276471782e-3f), all(9.6755413328e-3f));
  p = fma(p, f, all(5.5507132741e-2f));
  p = fma(p, f, all(2.4022119724e-1f));
  p = fma(p, f, all(6.9314696706e-1f));
  p = fma(p, f, all(1.0000000717f));
  return scale_by_power(p, n);
}

constexpr float kLog2E = 1.44269504088896f;

inline Floats exp(Floats x) { return exp2(min(all(88.0f), x) * all(kLog2E)); }

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

// x Phi(x) = max(x, 0) - |x| Phi(-|x|). Phi(-a) = erfc(a / sqrt 2) / 2 by Abramowitz and Stegun 1964, equation 7.1.26:
// within 1e-7.
inline Floats gelu(Floats x) {
  const Floats a = absolute(x), t = reciprocal(fma(a, all(0.231641899f), all(1.0f)));
  Floats p = fma(t, all(0.5307027145f), all(-0.7265760135f));
  p = fma(p, t, all(0.7107068705f));
  p = fma(p, t, all(-0.142248368f));
  p = fma(p, t, all(0.127414796f));
  const Floats tail = p * t * exp2(x * x * all(-0.5f * kLog2E));
  return max(all(0.0f), x) - a * tail;
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
  case Activation::NAME:    \
    return work(std::integral_constant<Activation, Activation::NAME>())
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
