// NEON with matrix products of bytes (i8mm: Neoverse V1, N2, Apple M2 and later): 32 products in one instruction.
#include "simd_neon.h"

#include "attention.h"
#include "int8_product.h"

namespace bertedge {
namespace {

struct Dot {
  // 2 pairs of rows times 8 pairs of outputs. A third pair of rows would leave too few registers for levels.
  static constexpr int kRows = 4, kPairs = 8;

  static inline int64x2_t sixteen(const uint8_t* levels) { return vreinterpretq_s64_u8(vld1q_u8(levels)); }

  // Eight inputs, which are those of one load of x, times half of a panel.
  template <int kRowPairs>
  static inline void add(const int8x16_t (&x)[kRowPairs], const int8_t* weights, int32x4_t (&s)[kRowPairs][kPairs]) {
#pragma GCC unroll 8
    for (int i = 0; i < kPairs; i++) {
      const int8x16_t w = vld1q_s8(weights + i * 16);
#pragma GCC unroll 8
      for (int r = 0; r < kRowPairs; r++) s[r][i] = vmmlaq_s32(s[r][i], x[r], w);
    }
  }

  // Half of a panel, whose weights begin at `weights`. An odd last row is paired with itself.
  template <int R>
  static inline void multiply_half(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums) {
    constexpr int kRowPairs = (R + 1) / 2;
    int32x4_t s[kRowPairs][kPairs];
#pragma GCC unroll 8
    for (int r = 0; r < kRowPairs; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kPairs; i++) s[r][i] = vdupq_n_s32(0);
    }
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, weights += kPanel * kBlock) {
#pragma GCC unroll 1
      for (int input = 0; input < kBlock; input += 16) {
        int8x16_t x[kRowPairs], next[kRowPairs];
#pragma GCC unroll 8
        for (int r = 0; r < kRowPairs; r++) {
          const uint8_t* row = levels + 2 * r * kBlock + input;
          const int64x2_t first = sixteen(row), second = 2 * r + 1 < R ? sixteen(row + kBlock) : first;
          x[r] = vreinterpretq_s8_s64(vtrn1q_s64(first, second));
          next[r] = vreinterpretq_s8_s64(vtrn2q_s64(first, second));
        }
        keep_order();
        add(x, weights + input * kPanel, s);
        keep_order();
        add(next, weights + (input + 8) * kPanel, s);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRowPairs; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kPairs; i++) {
        vst1_s32(sums + 2 * r * kPanel + i * 2, vget_low_s32(s[r][i]));
        if (2 * r + 1 < R) vst1_s32(sums + (2 * r + 1) * kPanel + i * 2, vget_high_s32(s[r][i]));
      }
    }
  }

  template <int R>
  [[gnu::noinline]] static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums,
                                         Ahead& ahead) {
    for (int b = 0; b < blocks; b++) ahead.fetch();
    multiply_half<R>(levels, panel, blocks, sums);
    multiply_half<R>(levels, panel + kPanel / 2 * 8, blocks, sums + kPanel / 2);
  }
};

// [inputs / 64][8 octets of inputs][16 pairs of outputs][2 outputs][8 inputs]
void pack_octets(const WeightView<int8_t>& weight, int panel, int8_t* to) {
  for (int octet = 0; octet < blocks_of(weight.inputs) * kBlock / 8; octet++) {
    for (int column = 0; column < kPanel; column++) {
      const int output = panel * kPanel + column;
      for (int i = 0; i < 8; i++) *to++ = weight_at(weight, octet * 8 + i, output);
    }
  }
}

void nothing() {}

}  // namespace

extern const Kernels kKernelsNeonI8mm;
const Kernels kKernelsNeonI8mm = {"neon-i8mm",   nothing,   nothing,    pack_octets,      int8_product<Dot>,
                                  float_product, add_bytes, layer_norm, prepare,          quantize,
                                  activate,      rotate,    attention,  attention_scratch};

}  // namespace bertedge
