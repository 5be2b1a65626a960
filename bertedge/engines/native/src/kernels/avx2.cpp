// AVX2: pairs of products of bytes, added in 16 bits without saturation.
#include "simd_avx2.h"

namespace bertedge {
namespace {

struct Bytes {
  typedef __m256i Vector;
  static constexpr int kSize = 32;
  // Rows at a time. 8 sums are enough: only an addition waits for the one before.
  static constexpr int kRows = 4;

  static Vector all(int32_t four) { return _mm256_set1_epi32(four); }
  static Vector load(const void* p) { return _mm256_load_si256(static_cast<const Vector*>(p)); }
  static void store(void* p, Vector v) { _mm256_store_si256(static_cast<Vector*>(p), v); }
  // Unsigned to signed.
  static Vector minus_128(Vector v) { return _mm256_xor_si256(v, _mm256_set1_epi8(-128)); }
  static Vector absolute(Vector v) { return _mm256_abs_epi8(v); }
  // -v where `sign` is below zero, v where it is above.
  static Vector with_sign(Vector v, Vector sign) { return _mm256_sign_epi8(v, sign); }
  // sum + the four products of unsigned `x` and signed `w` in each 32 bits.
  static Vector add_products(Vector sum, Vector x, Vector w) {
    const Vector pairs = _mm256_maddubs_epi16(x, w);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  // |w + its neighbour| in each 16 bits.
  static Vector sizes_of_pairs(Vector w) { return _mm256_abs_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), w)); }
  static Vector larger_words(Vector a, Vector b) { return _mm256_max_epi16(a, b); }
};

void nothing() {}

}  // namespace
}  // namespace bertedge

#include "attention.h"
#include "paired_product.h"

namespace bertedge {

extern const Kernels kKernelsAvx2;
const Kernels kKernelsAvx2 = {"avx2",        nothing,   nothing,    pack_pairs,       int8_product<PairedDot>,
                              float_product, add_bytes, layer_norm, prepare,          quantize,
                              activate,      rotate,    attention,  attention_scratch};

}  // namespace bertedge
