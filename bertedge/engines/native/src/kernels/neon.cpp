// NEON of every 64-bit ARM CPU (Cortex-A53, A72): 16 products of bytes in two multiplications and an addition.
//
// The sum of two products fits in 16 bits: levels reach from -128 to 127 and weights from -127 to 127, so it lies
// between -32512 and 32512. A third one would not fit.
#include "simd_neon.h"

#include "attention.h"
#include "int8_product.h"

namespace bertedge {
namespace {

struct Dot {
  // 4 rows times 4 outputs: 16 vectors of sums, 4 of weights, and room for products on their way.
  static constexpr int kRows = 4;

  // 16 inputs of a row times those of four outputs. Each output has four sums of pairs, which are added at the end.
  static inline void add(int8x16_t x, const int8x16_t (&w)[4], int32x4_t (&s)[4]) {
    int16x8_t products[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) products[i] = vmull_s8(vget_low_s8(x), vget_low_s8(w[i]));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) products[i] = vmlal_high_s8(products[i], x, w[i]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) s[i] = vpadalq_s16(s[i], products[i]);
    keep_order();
  }

  // Four outputs, whose weights follow one another from `weights` on.
  template <int R>
  static inline void multiply_four(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums) {
    int32x4_t s[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) s[r][0] = s[r][1] = s[r][2] = s[r][3] = vdupq_n_s32(0);
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock) {
      for (int input = 0; input < kBlock; input += 16, weights += 64) {
        int8x16_t w[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) w[i] = vld1q_s8(weights + i * 16);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
          add(vld1q_s8(reinterpret_cast<const int8_t*>(levels) + r * kBlock + input), w, s[r]);
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      vst1q_s32(sums + r * kPanel, vpaddq_s32(vpaddq_s32(s[r][0], s[r][1]), vpaddq_s32(s[r][2], s[r][3])));
    }
  }

  template <int R>
  [[gnu::noinline]] static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums,
                                         Ahead& ahead) {
    for (int b = 0; b < blocks; b++) ahead.fetch();
    const size_t bytes = static_cast<size_t>(blocks) * kBlock * 4;
    for (int i = 0; i < kPanel; i += 4, panel += bytes) multiply_four<R>(levels, panel, blocks, sums + i);
  }
};

// [8 fours of outputs][inputs / 16][4 outputs][16 inputs]
void pack_sixteens(const WeightView<int8_t>& weight, int panel, int8_t* to) {
  for (int four = 0; four < kPanel; four += 4) {
    for (int first = 0; first < blocks_of(weight.inputs) * kBlock; first += 16) {
      for (int i = 0; i < 64; i++) *to++ = weight_at(weight, first + i % 16, panel * kPanel + four + i / 16);
    }
  }
}

void nothing() {}

}  // namespace

extern const Kernels kKernelsNeon;
const Kernels kKernelsNeon = {"neon",        nothing,   nothing,    pack_sixteens,    int8_product<Dot>,
                              float_product, add_bytes, layer_norm, prepare,          quantize,
                              activate,      rotate,    attention,  attention_scratch};

}  // namespace bertedge
