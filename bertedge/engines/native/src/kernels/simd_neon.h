// Vectors of NEON: 4 floats. The names are those of simd_avx512.h.
#pragma once
#include <arm_neon.h>

#include <cstdint>

namespace bertedge {
namespace {

typedef float32x4_t Floats;
typedef int32x4_t Ints;
constexpr int kWidth = 4;
// What is taken off a level before it is stored: NEON multiplies signed bytes.
constexpr int kLevelZero = 128;
// Sums of a float product that fill the registers: rows, and vectors of each.
constexpr int kSumRows = 8, kSumVectors = 2;
// Vectors that become levels at a time.
constexpr int kLevelVectors = 4;

inline Floats all(float x) { return vdupq_n_f32(x); }
inline Floats load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, Floats v) { vst1q_f32(p, v); }
// The first `count` < kWidth lanes; the others are read as zero and not written.
inline Floats load_first(const float* p, int count) {
  float lanes[kWidth] = {};
  for (int i = 0; i < count; i++) lanes[i] = p[i];
  return load(lanes);
}
inline void store_first(float* p, Floats v, int count) {
  float lanes[kWidth];
  store(lanes, v);
  for (int i = 0; i < count; i++) p[i] = lanes[i];
}
// The first `count` lanes of v, and `other` in the rest.
inline Floats keep_first(Floats v, int count, Floats other) {
  static const uint32_t kLanes[kWidth] = {0, 1, 2, 3};
  return vbslq_f32(vcltq_u32(vld1q_u32(kLanes), vdupq_n_u32(static_cast<uint32_t>(count))), v, other);
}

inline Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
// Factors of sums: `kScalars` floats that follow one another, and a * b + c with one of them.
typedef Floats Scalars;
constexpr int kScalars = 4;
inline Scalars load_scalars(const float* p) { return load(p); }
template <int kLane>
inline Floats fma_scalar(Scalars a, Floats b, Floats c) {
  return vfmaq_laneq_f32(c, b, a, kLane);
}
inline Floats max(Floats a, Floats b) { return vmaxq_f32(a, b); }
inline Floats min(Floats a, Floats b) { return vminq_f32(a, b); }
inline Floats round(Floats v) { return vrndnq_f32(v); }
inline Floats square_root(Floats v) { return vsqrtq_f32(v); }
inline Floats reciprocal(Floats v) { return all(1.0f) / v; }
// v * 2^n, for whole n from -126 to 127
inline Floats scale_by_power(Floats v, Floats n) {
  const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
  return vmulq_f32(v, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}
// v with the sign of `sign`; v must not be negative
inline Floats with_sign(Floats v, Floats sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, v); }
inline Floats absolute(Floats v) { return vabsq_f32(v); }

inline float sum(Floats v) { return vaddvq_f32(v); }
inline float largest(Floats v) { return vmaxvq_f32(v); }
inline float smallest(Floats v) { return vminvq_f32(v); }

// Halves are rounded to even.
inline Ints to_ints(Floats v) { return vcvtnq_s32_f32(v); }
inline Floats to_floats(Ints v) { return vcvtq_f32_s32(v); }
inline Ints load_bytes(const int8_t* p) {  // kWidth of them
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(static_cast<uint32_t>(four)))));
}
inline Ints load_ints(const int32_t* p) { return vld1q_s32(p); }
// Integers as levels, as this instruction set stores them: below 0 is 0, above 255 is 255.
inline void store_levels(uint8_t* p, const Ints (&v)[kLevelVectors]) {
  const int16x8_t zero = vdupq_n_s16(kLevelZero);
  const int16x8_t low = vqsubq_s16(vqmovn_high_s32(vqmovn_s32(v[0]), v[1]), zero);
  const int16x8_t high = vqsubq_s16(vqmovn_high_s32(vqmovn_s32(v[2]), v[3]), zero);
  vst1q_s8(reinterpret_cast<int8_t*>(p), vqmovn_high_s16(vqmovn_s16(low), high));
}

// Rows become columns.
inline void transpose(Floats (&v)[kWidth]) {
  const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(v[0], v[1])),
                    b = vreinterpretq_f64_f32(vtrn2q_f32(v[0], v[1]));
  const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(v[2], v[3])),
                    d = vreinterpretq_f64_f32(vtrn2q_f32(v[2], v[3]));
  v[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
  v[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
  v[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
  v[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}

}  // namespace
}  // namespace bertedge
