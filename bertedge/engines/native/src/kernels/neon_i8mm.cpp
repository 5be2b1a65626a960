// NEON with matrix products of bytes (i8mm: Neoverse V1, N2, Apple M2 and later): 32 products in one instruction.
#include "simd_neon.h"

#include "attention.h"
#include "int8_product.h"

namespace bertedge {
namespace {

struct Dot {
  // 4 pairs of rows times 4 pairs of outputs.
  static constexpr int kRows = 8;

  // Eight inputs of two rows.
  static inline int8x16_t pair_of_rows(const uint8_t* first, const uint8_t* second) {
    return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(first), vld1_u8(second)));
  }

  // kPairs pairs of outputs, from `weights` on. An odd last row is paired with itself.
  template <int R, int kPairs>
  static inline void multiply_part(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums, Ahead& ahead) {
    constexpr int kRowPairs = (R + 1) / 2;
    int32x4_t s[kRowPairs][kPairs];
#pragma GCC unroll 8
    for (int r = 0; r < kRowPairs; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kPairs; i++) s[r][i] = vdupq_n_s32(0);
    }
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, weights += kPanel * kBlock) {
      ahead.fetch();
#pragma GCC unroll 2
      for (int octet = 0; octet < 8; octet++) {
        int8x16_t x[kRowPairs];
#pragma GCC unroll 8
        for (int r = 0; r < kRowPairs; r++) {
          const uint8_t* row = levels + 2 * r * kBlock + octet * 8;
          x[r] = pair_of_rows(row, 2 * r + 1 < R ? row + kBlock : row);
        }
#pragma GCC unroll 8
        for (int i = 0; i < kPairs; i++) {
          const int8x16_t w = vld1q_s8(weights + octet * 256 + i * 16);
#pragma GCC unroll 8
          for (int r = 0; r < kRowPairs; r++) s[r][i] = vmmlaq_s32(s[r][i], x[r], w);
        }
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
  static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums, Ahead& ahead) {
    constexpr int kPairs = R <= 4 ? 8 : 4;
    for (int pair = 0; pair < kPanel / 2; pair += kPairs) {
      multiply_part<R, kPairs>(levels, panel + pair * 16, blocks, sums + pair * 2, ahead);
    }
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
const Kernels kKernelsNeonI8mm = {"neon-i8mm", nothing,  nothing, pack_octets, int8_product<Dot>, float_product, add_bytes,
                                  layer_norm,  prepare,  quantize, activate,   rotate,            attention,
                                  attention_scratch};

}  // namespace bertedge
