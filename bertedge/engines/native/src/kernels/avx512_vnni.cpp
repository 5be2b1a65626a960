// AVX512-VNNI: 64 products of bytes in one instruction.
#include "simd_avx512.h"

#include "int16_attention.h"
#include "int8_product.h"

namespace bertedge {
namespace {

struct Dot {
  // 8 rows times 2 vectors of outputs: 16 sums hide the latency of vpdpbusd.
  static constexpr int kRows = 8;

  template <int R>
  static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums, Ahead& ahead) {
    constexpr bool kManyRows = R > 5;  // multiplying a block takes long, so its share is fetched a quarter at a time
    __m512i s[R][2];
    for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm512_setzero_si512();
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, panel += kPanel * kBlock) {
      if (!kManyRows) ahead.fetch<R>();
#pragma GCC unroll 4
      for (int quad = 0; quad < 16; quad++) {
        if (kManyRows && quad % 4 == 0) ahead.fetch<R, 4>();
        const __m512i w0 = _mm512_load_si512(panel + quad * 64), w1 = _mm512_load_si512(panel + 1024 + quad * 64);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          int32_t four;
          __builtin_memcpy(&four, levels + r * kBlock + quad * 4, 4);
          const __m512i x = _mm512_set1_epi32(four);
          s[r][0] = _mm512_dpbusd_epi32(s[r][0], x, w0);
          s[r][1] = _mm512_dpbusd_epi32(s[r][1], x, w1);
        }
      }
    }
    for (int r = 0; r < R; r++) {
      _mm512_store_si512(sums + r * kPanel, s[r][0]);
      _mm512_store_si512(sums + r * kPanel + 16, s[r][1]);
    }
  }
};

struct Pairs {
  static Ints all(int32_t x) { return _mm512_set1_epi32(x); }
  static Ints join(Ints low, Ints high) {
    return _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_slli_epi32(high, 16));
  }
  static Ints dot(Ints sum, Ints a, Ints b) { return _mm512_dpwssd_epi32(sum, a, b); }
  static Floats as_floats(Ints v) { return _mm512_castsi512_ps(v); }
  static void store(int32_t* p, Ints v) { _mm512_storeu_si512(p, v); }
};

void nothing() {}

}  // namespace

extern const Kernels kKernelsAvx512Vnni;
const Kernels kKernelsAvx512Vnni = {"avx512-vnni",
                                    nothing,
                                    nothing,
                                    pack_quads,
                                    int8_product<Dot>,
                                    float_product,
                                    add_bytes,
                                    layer_norm,
                                    prepare,
                                    quantize,
                                    activate,
                                    rotate,
                                    int16_attention<Pairs>,
                                    int16_attention_scratch};

}  // namespace bertedge
