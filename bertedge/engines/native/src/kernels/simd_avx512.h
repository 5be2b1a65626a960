// Vectors of AVX-512: 16 floats. The other simd_*.h files offer the same names.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace bertedge {
namespace {

typedef __m512 Floats;
typedef __m512i Ints;
constexpr int kWidth = 16;
// What is taken off a level before it is stored: nothing, since vpdpbusd reads unsigned levels.
constexpr int kLevelZero = 0;
// Sums of a float product that fill the registers: rows, and vectors of each.
constexpr int kSumRows = 12, kSumVectors = 2;
// Vectors that become levels at a time.
constexpr int kLevelVectors = 1;

inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }

inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
// The first `count` < kWidth lanes; the others are read as zero and not written.
inline Floats load_first(const float* p, int count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
inline void store_first(float* p, Floats v, int count) { _mm512_mask_storeu_ps(p, first_lanes(count), v); }
// The first `count` lanes of v, and `other` in the rest.
inline Floats keep_first(Floats v, int count, Floats other) { return _mm512_mask_mov_ps(other, first_lanes(count), v); }

inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
// Factors of sums: `kScalars` floats that follow one another, and a * b + c with one of them.
typedef Floats Scalars;
constexpr int kScalars = 1;
inline Scalars load_scalars(const float* p) { return all(*p); }
template <int kLane>
inline Floats fma_scalar(Scalars a, Floats b, Floats c) {
  return fma(a, b, c);
}
inline Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats round(Floats v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats square_root(Floats v) { return _mm512_sqrt_ps(v); }
// 1 / v within 2e-7 of itself, for normal numbers. Division takes twice as long.
inline Floats reciprocal(Floats v) {
  const Floats r = _mm512_rcp14_ps(v);
  return _mm512_fmadd_ps(r, _mm512_fnmadd_ps(v, r, all(1.0f)), r);
}
// v * 2^n, for whole n from -126 to 127
inline Floats scale_by_power(Floats v, Floats n) { return _mm512_scalef_ps(v, n); }
// v with the sign of `sign`; v must not be negative
inline Floats with_sign(Floats v, Floats sign) {
  return _mm512_castsi512_ps(_mm512_or_si512(
      _mm512_castps_si512(v), _mm512_and_si512(_mm512_castps_si512(sign), _mm512_set1_epi32(INT32_MIN))));
}
inline Floats absolute(Floats v) { return _mm512_abs_ps(v); }

inline float sum(Floats v) { return _mm512_reduce_add_ps(v); }
inline float largest(Floats v) { return _mm512_reduce_max_ps(v); }
inline float smallest(Floats v) { return _mm512_reduce_min_ps(v); }

// Halves are rounded to even.
inline Ints to_ints(Floats v) { return _mm512_cvtps_epi32(v); }
inline Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
inline Ints load_bytes(const int8_t* p) {  // kWidth of them
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Ints load_ints(const int32_t* p) { return _mm512_loadu_si512(p); }
// Integers as levels, as this instruction set stores them: below 0 is 0, above 255 is 255.
inline void store_levels(uint8_t* p, const Ints (&v)[kLevelVectors]) {
  const Ints positive = _mm512_max_epi32(v[0], _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(positive));
}

// Rows become columns.
inline void transpose(Floats (&v)[kWidth]) {
  Floats t[kWidth];
  for (int i = 0; i < 16; i += 2) {  // pairs of rows
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // fours: row i + c has the columns c, c + 4, c + 8, c + 12 of rows i to i + 3
    v[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    v[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    v[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    v[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
  }
  for (int c = 0; c < 4; c++) {
    const Floats a = _mm512_shuffle_f32x4(v[c], v[4 + c], 0x88), b = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0x88);
    const Floats d = _mm512_shuffle_f32x4(v[c], v[4 + c], 0xdd), e = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0xdd);
    t[c] = _mm512_shuffle_f32x4(a, b, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(a, b, 0xdd);
    t[4 + c] = _mm512_shuffle_f32x4(d, e, 0x88);
    t[12 + c] = _mm512_shuffle_f32x4(d, e, 0xdd);
  }
  for (int i = 0; i < 16; i++) v[i] = t[i];
}

}  // namespace
}  // namespace bertedge
