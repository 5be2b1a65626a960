// AVX-VNNI: 32 products of bytes in one instruction. For CPUs without AVX-512.
#include "simd_avx2.h"

#include "int16_attention.h"
#include "int8_product.h"

namespace bertedge {
namespace {

struct Dot {
  // 6 rows times 2 vectors of outputs: 12 sums, 2 vectors of weights and the levels of a row fill 15 of 16 registers.
  static constexpr int kRows = 6;

  template <int R>
  static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums, Ahead& ahead) {
    multiply_half<R>(levels, panel, blocks, sums, ahead);
    multiply_half<R>(levels, panel + kPanel * kBlock / 2, blocks, sums + kPanel / 2, ahead);
  }

 private:
  template <int R>
  static void multiply_half(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums, Ahead& ahead) {
    __m256i s[R][2];
    for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm256_setzero_si256();
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, weights += kPanel * kBlock) {
      ahead.fetch<R>();
#pragma GCC unroll 4
      for (int quad = 0; quad < 16; quad++) {
        const __m256i* w = reinterpret_cast<const __m256i*>(weights + quad * 64);
        const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          int32_t four;
          __builtin_memcpy(&four, levels + r * kBlock + quad * 4, 4);
          const __m256i x = _mm256_set1_epi32(four);
          s[r][0] = _mm256_dpbusd_avx_epi32(s[r][0], x, w0);
          s[r][1] = _mm256_dpbusd_avx_epi32(s[r][1], x, w1);
        }
      }
    }
    for (int r = 0; r < R; r++) {
      for (int i = 0; i < 2; i++) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * kPanel + i * kWidth), s[r][i]);
      }
    }
  }
};

struct Pairs {
  static Ints all(int32_t x) { return _mm256_set1_epi32(x); }
  static Ints join(Ints low, Ints high) { return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa); }
  static Ints dot(Ints sum, Ints a, Ints b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
  static Floats as_floats(Ints v) { return _mm256_castsi256_ps(v); }
  static void store(int32_t* p, Ints v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};

void nothing() {}

}  // namespace

extern const Kernels kKernelsAvxVnni;
const Kernels kKernelsAvxVnni = {
    "avx-vnni", nothing,  nothing,  pack_quads, int8_product<Dot>,      float_product,          add_bytes, layer_norm,
    prepare,    quantize, activate, rotate,     int16_attention<Pairs>, int16_attention_scratch};

}  // namespace bertedge
