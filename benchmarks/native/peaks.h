// The most products of bytes that a core can do with the instructions of a kernel: loops that read no memory.
#pragma once
#include <cstring>

#include "clock.h"

namespace bench {

struct Peak {
  void (*loop)(long turns);
  double macs_a_turn;
};

// Twelve sums, each of which waits for itself only.
#define BERTEDGE_TWELVE(I) I(0) I(1) I(2) I(3) I(4) I(5) I(6) I(7) I(8) I(9) I(10) I(11)

#if defined(__x86_64__)
#define BERTEDGE_VNNI(R, N) "vpdpbusd %%" R "14, %%" R "15, %%" R #N "\n"
#define BERTEDGE_VNNI_512(N) BERTEDGE_VNNI("zmm", N)
#define BERTEDGE_VNNI_256(N) "%{vex%} " BERTEDGE_VNNI("ymm", N)
#define BERTEDGE_PAIRS(R, N)                                                                                        \
  "vpmaddubsw %%" R "14, %%" R "15, %%" R "12\nvpmaddwd %%" R "13, %%" R "12, %%" R "12\nvpaddd %%" R "12, %%" R #N \
  ", %%" R #N "\n"
#define BERTEDGE_PAIRS_512(N) BERTEDGE_PAIRS("zmm", N)
#define BERTEDGE_PAIRS_256(N) BERTEDGE_PAIRS("ymm", N)
#define BERTEDGE_VECTORS                                                                                              \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14", "xmm15"
#define BERTEDGE_LOOP(NAME, TEXT)                                         \
  inline void NAME(long turns) {                                          \
    for (; turns > 0; turns--) asm volatile(TEXT : : : BERTEDGE_VECTORS); \
    asm volatile("vzeroupper" : : : BERTEDGE_VECTORS);                    \
  }

#ifdef BERTEDGE_KERNELS_AVX512_VNNI
BERTEDGE_LOOP(vnni_512, BERTEDGE_TWELVE(BERTEDGE_VNNI_512))
#endif
#ifdef BERTEDGE_KERNELS_AVX512
BERTEDGE_LOOP(pairs_512, BERTEDGE_TWELVE(BERTEDGE_PAIRS_512))
#endif
#ifdef BERTEDGE_KERNELS_AVX_VNNI
BERTEDGE_LOOP(vnni_256, BERTEDGE_TWELVE(BERTEDGE_VNNI_256))
#endif
#ifdef BERTEDGE_KERNELS_AVX2
BERTEDGE_LOOP(pairs_256, BERTEDGE_TWELVE(BERTEDGE_PAIRS_256))
#endif
#ifdef BERTEDGE_KERNELS_AMX
// Between begin and end of the kernel, which configure the tiles.
inline void tiles(long turns) {
  for (; turns > 0; turns--) {
    asm volatile(
        "tdpbusd %tmm6, %tmm4, %tmm0\ntdpbusd %tmm7, %tmm4, %tmm1\n"
        "tdpbusd %tmm6, %tmm5, %tmm2\ntdpbusd %tmm7, %tmm5, %tmm3\n");
  }
}
#endif
#elif defined(__aarch64__)
#define BERTEDGE_DOT(N) "sdot v" #N ".4s, v30.16b, v31.16b\n"
#define BERTEDGE_MATRIX(N) "smmla v" #N ".4s, v30.16b, v31.16b\n"
#define BERTEDGE_LONG(N) "smull v29.8h, v30.8b, v31.8b\nsmlal2 v29.8h, v30.16b, v31.16b\nsadalp v" #N ".4s, v29.8h\n"
#define BERTEDGE_VECTORS "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v29", "v30", "v31"
#define BERTEDGE_LOOP(NAME, TEXT)                                         \
  inline void NAME(long turns) {                                          \
    for (; turns > 0; turns--) asm volatile(TEXT : : : BERTEDGE_VECTORS); \
  }
BERTEDGE_LOOP(long_products, BERTEDGE_TWELVE(BERTEDGE_LONG))
#ifdef BERTEDGE_KERNELS_NEON_DOTPROD
BERTEDGE_LOOP(dot_products, ".arch_extension dotprod\n" BERTEDGE_TWELVE(BERTEDGE_DOT))
#endif
#ifdef BERTEDGE_KERNELS_NEON_I8MM
BERTEDGE_LOOP(matrix_products, ".arch_extension i8mm\n" BERTEDGE_TWELVE(BERTEDGE_MATRIX))
#endif
#endif

// Twelve instructions of so many bytes' products.
constexpr double kTwelve64 = 12 * 64, kTwelve32 = 12 * 32, kTwelve16 = 12 * 16;

inline Peak peak_of(const char* kernel) {
  const auto is = [&](const char* name) { return !std::strcmp(kernel, name); };
#ifdef BERTEDGE_KERNELS_AMX
  if (is("amx")) return {tiles, 4 * 16 * 16 * 64};
#endif
#ifdef BERTEDGE_KERNELS_AVX512_VNNI
  if (is("avx512-vnni")) return {vnni_512, kTwelve64};
#endif
#ifdef BERTEDGE_KERNELS_AVX512
  if (is("avx512")) return {pairs_512, kTwelve64};
#endif
#ifdef BERTEDGE_KERNELS_AVX_VNNI
  if (is("avx-vnni")) return {vnni_256, kTwelve32};
#endif
#ifdef BERTEDGE_KERNELS_AVX2
  if (is("avx2")) return {pairs_256, kTwelve32};
#endif
#if defined(__aarch64__)
  if (is("neon")) return {long_products, kTwelve16};
#endif
#ifdef BERTEDGE_KERNELS_NEON_DOTPROD
  if (is("neon-dotprod")) return {dot_products, kTwelve16};
#endif
#ifdef BERTEDGE_KERNELS_NEON_I8MM
  if (is("neon-i8mm")) return {matrix_products, kTwelve32};
#endif
  return {nullptr, 0};
}

inline double peak_macs_a_second(const Peak& peak) {
  const long turns = 20000;
  return turns * peak.macs_a_turn / best_seconds([&] { peak.loop(turns); });
}

}  // namespace bench
