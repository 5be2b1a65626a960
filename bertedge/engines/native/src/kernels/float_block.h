// Products of floats, a block of sums at a time. On top of a simd_*.h file, which says how many sums fill the
// registers: kSumRows rows of kSumVectors vectors.
#pragma once
#include <cstddef>
#include <type_traits>

namespace bertedge {
namespace {

// Where compilers may not move instructions across: with many steps in a row they would load too early, and run out of
// registers.
inline void keep_order() { __asm__ volatile(""); }

// Adds to the sums what the depths of one load of scalars give.
template <int kLane, int R, int V>
inline void add_depths(const Scalars (&x)[R], const float* b, size_t b_stride, Floats (&s)[R][V]) {
#pragma GCC unroll 8
  for (int i = 0; i < V; i++) {
    const Floats w = load(b + i * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) s[r][i] = fma_scalar<kLane>(x[r], w, s[r][i]);
  }
  if constexpr (kLane + 1 < kScalars) {
    keep_order();
    add_depths<kLane + 1>(x, b + b_stride, b_stride, s);
  }
}

// s = x (R, depth) b (depth, V vectors). A sum is added in the order of depths, whatever R and V are.
template <int R, int V>
inline void float_block(const float* x, size_t x_stride, const float* b, size_t b_stride, int depth,
                        Floats (&s)[R][V]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) s[r][i] = all(0.0f);
  }
  int k = 0;
  if constexpr (kScalars > 1) {
    Scalars scalars[R];
    for (; k + kScalars <= depth; k += kScalars, b += kScalars * b_stride) {
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) scalars[r] = load_scalars(x + r * x_stride + k);
      add_depths<0>(scalars, b, b_stride, s);
    }
  }
  for (; k < depth; k++, b += b_stride) {
    Floats w[V];
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) w[i] = load(b + i * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Floats one = all(x[r * x_stride + k]);
#pragma GCC unroll 8
      for (int i = 0; i < V; i++) s[r][i] = fma(one, w[i], s[r][i]);
    }
  }
}

// Calls work(std::integral_constant<int, R>) for R = rows, from 1 to kMost.
template <int kMost, class Work>
inline void with_rows(int rows, Work&& work) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return with_rows<kMost - 1>(rows, work);
  }
  work(std::integral_constant<int, kMost>());
}

}  // namespace
}  // namespace bertedge
