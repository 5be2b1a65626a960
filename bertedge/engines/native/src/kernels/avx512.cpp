// AVX-512 without VNNI (Skylake-X): pairs of products of bytes, added in 16 bits without saturation.
#include "simd_avx512.h"

namespace bertedge {
namespace {

struct Bytes {
  typedef __m512i Vector;
  static constexpr int kSize = 64;
  // Rows at a time: 16 of the 32 registers are sums.
  static constexpr int kRows = 8;

  static Vector all(int32_t four) { return _mm512_set1_epi32(four); }
  static Vector load(const void* p) { return _mm512_load_si512(p); }
  static void store(void* p, Vector v) { _mm512_store_si512(p, v); }
  // Unsigned to signed.
  static Vector minus_128(Vector v) { return _mm512_xor_si512(v, _mm512_set1_epi8(-128)); }
  static Vector absolute(Vector v) { return _mm512_abs_epi8(v); }
  // -v where `sign` is below zero, v elsewhere.
  static Vector with_sign(Vector v, Vector sign) {
    return _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(sign), _mm512_setzero_si512(), v);
  }
  // sum + the four products of unsigned `x` and signed `w` in each 32 bits.
  static Vector add_products(Vector sum, Vector x, Vector w) {
    const Vector pairs = _mm512_maddubs_epi16(x, w);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  // |w + its neighbour| in each 16 bits.
  static Vector sizes_of_pairs(Vector w) { return _mm512_abs_epi16(_mm512_maddubs_epi16(_mm512_set1_epi8(1), w)); }
  static Vector larger_words(Vector a, Vector b) { return _mm512_max_epi16(a, b); }
};

void nothing() {}

}  // namespace
}  // namespace bertedge

#include "attention.h"
#include "paired_product.h"

namespace bertedge {

extern const Kernels kKernelsAvx512;
const Kernels kKernelsAvx512 = {"avx512",      nothing,   nothing,    pack_pairs,       int8_product<PairedDot>,
                                float_product, add_bytes, layer_norm, prepare,          quantize,
                                activate,      rotate,    attention,  attention_scratch};

}  // namespace bertedge
