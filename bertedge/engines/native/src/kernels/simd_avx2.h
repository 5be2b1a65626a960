// Vectors of AVX2 with FMA: 8 floats.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace bertedge {
namespace {

typedef __m256 Floats;
typedef __m256i Ints;
constexpr int kWidth = 8;
// What is taken off a level before it is stored: nothing, since vpmaddubsw and vpdpbusd read unsigned levels.
constexpr int kLevelZero = 0;
// Sums of a float product that fill the registers: rows, and vectors of each.
constexpr int kSumRows = 6, kSumVectors = 2;
// Vectors that become levels at a time.
constexpr int kLevelVectors = 4;

// AVX2 has no mask registers: a lane is taken where the highest bit of its word is set.
alignas(32) constexpr int32_t kLanes[2 * kWidth] = {-1, -1, -1, -1, -1, -1, -1, -1};
inline __m256i first_lanes(int count) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLanes + kWidth - count));
}

inline Floats all(float x) { return _mm256_set1_ps(x); }
inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
// The first `count` < kWidth lanes; the others are read as zero and not written.
inline Floats load_first(const float* p, int count) { return _mm256_maskload_ps(p, first_lanes(count)); }
inline void store_first(float* p, Floats v, int count) { _mm256_maskstore_ps(p, first_lanes(count), v); }
// The first `count` lanes of v, and `other` in the rest.
inline Floats keep_first(Floats v, int count, Floats other) {
  return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(first_lanes(count)));
}

inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
// Factors of sums: `kScalars` floats that follow one another, and a * b + c with one of them.
typedef Floats Scalars;
constexpr int kScalars = 1;
inline Scalars load_scalars(const float* p) { return all(*p); }
template <int kLane>
inline Floats fma_scalar(Scalars a, Floats b, Floats c) {
  return fma(a, b, c);
}
inline Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats round(Floats v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats square_root(Floats v) { return _mm256_sqrt_ps(v); }
inline Floats reciprocal(Floats v) { return all(1.0f) / v; }
// v * 2^n, for whole n from -126 to 127
inline Floats scale_by_power(Floats v, Floats n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
// v with the sign of `sign`; v must not be negative
inline Floats with_sign(Floats v, Floats sign) { return _mm256_or_ps(v, _mm256_and_ps(sign, all(-0.0f))); }
inline Floats absolute(Floats v) { return _mm256_andnot_ps(all(-0.0f), v); }

// One value from 8: halves against each other, then quarters, then neighbours.
template <class Both>
inline float fold(Floats v, Both&& both) {
  __m128 half = both(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = both(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(both(half, _mm_movehdup_ps(half)));
}
inline float sum(Floats v) {
  return fold(v, [](__m128 a, __m128 b) { return _mm_add_ps(a, b); });
}
inline float largest(Floats v) {
  return fold(v, [](__m128 a, __m128 b) { return _mm_max_ps(a, b); });
}
inline float smallest(Floats v) {
  return fold(v, [](__m128 a, __m128 b) { return _mm_min_ps(a, b); });
}

// Halves are rounded to even.
inline Ints to_ints(Floats v) { return _mm256_cvtps_epi32(v); }
inline Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
inline Ints load_bytes(const int8_t* p) {  // kWidth of them
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline Ints load_ints(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
// Integers as levels, as this instruction set stores them: below 0 is 0, above 255 is 255.
inline void store_levels(uint8_t* p, const Ints (&v)[kLevelVectors]) {
  // Both instructions work on halves of 128 bits, which leaves fours of bytes in another order.
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(bytes, order));
}

// Rows become columns.
inline void transpose(Floats (&v)[kWidth]) {
  Floats t[kWidth];
  for (int i = 0; i < 8; i += 2) {  // pairs of rows
    t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {  // fours: row i + c has the columns c and c + 4 of rows i to i + 3
    v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int c = 0; c < 4; c++) {
    t[c] = _mm256_permute2f128_ps(v[c], v[4 + c], 0x20);
    t[4 + c] = _mm256_permute2f128_ps(v[c], v[4 + c], 0x31);
  }
  for (int i = 0; i < 8; i++) v[i] = t[i];
}

}  // namespace
}  // namespace bertedge
