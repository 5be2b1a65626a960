// NEON with the dot product extension (Cortex-A55, A75, A76 and later): 16 products of bytes in one instruction.
#include "simd_neon.h"

#include "attention.h"
#include "int8_product.h"

namespace bertedge {
namespace {

struct Dot {
  // 6 rows times 4 vectors of outputs: 24 vectors of sums, 6 of levels.
  static constexpr int kRows = 6;

  // The sums of one quad of inputs, which is lane `Lane` of x, with the kVectors * 4 outputs from `w` on.
  template <int R, int kVectors, int Lane>
  static inline void add_quad(const int8x16_t (&x)[R], const int8_t* w, int32x4_t (&s)[R][kVectors]) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; i++) {
      // The second half of a panel's outputs lies 1024 bytes behind the first.
      const int8x16_t weights = vld1q_s8(w + i / 4 * 1024 + i % 4 * 16);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) s[r][i] = vdotq_laneq_s32(s[r][i], weights, x[r], Lane);
    }
    keep_order();
  }

  // kVectors * 4 outputs of the panel: one half of them, or all.
  template <int R, int kVectors>
  static inline void multiply_part(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums) {
    int32x4_t s[R][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; i++) s[r][i] = vdupq_n_s32(0);
    }
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, panel += kPanel * kBlock) {
      for (int input = 0; input < kBlock; input += 16) {
        int8x16_t x[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) x[r] = vld1q_s8(reinterpret_cast<const int8_t*>(levels) + r * kBlock + input);
        const int8_t* w = panel + input * 16;
        add_quad<R, kVectors, 0>(x, w, s);
        add_quad<R, kVectors, 1>(x, w + 64, s);
        add_quad<R, kVectors, 2>(x, w + 128, s);
        add_quad<R, kVectors, 3>(x, w + 192, s);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; i++) vst1q_s32(sums + r * kPanel + i * 4, s[r][i]);
    }
  }

  template <int R>
  [[gnu::noinline]] static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums,
                                         Ahead& ahead) {
    for (int b = 0; b < blocks; b++) ahead.fetch();
    if constexpr (R <= 2) return multiply_part<R, 8>(levels, panel, blocks, sums);
    multiply_part<R, 4>(levels, panel, blocks, sums);
    multiply_part<R, 4>(levels, panel + 1024, blocks, sums + 16);
  }
};

void nothing() {}

}  // namespace

extern const Kernels kKernelsNeonDotprod;
const Kernels kKernelsNeonDotprod = {"neon-dotprod", nothing,   nothing,    pack_quads,       int8_product<Dot>,
                                     float_product,  add_bytes, layer_norm, prepare,          quantize,
                                     activate,       rotate,    attention,  attention_scratch};

}  // namespace bertedge
