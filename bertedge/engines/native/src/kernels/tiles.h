// AMX: eight tiles of 16 rows of 64 bytes, of one thread.
//
// The instructions are written as assembly: GCC's macros for them do not tell the compiler what memory they read and
// write, and so it may move or drop the stores before them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bertedge {
namespace {

constexpr int kTileRows = 16, kTileBytes = 64;

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, unused[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const TileConfiguration kTileConfiguration;

inline void configure_tiles() { asm volatile("ldtilecfg %0" : : "m"(kTileConfiguration)); }
inline void release_tiles() { asm volatile("tilerelease"); }

template <int T>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(T));
}
template <int T>
inline void tile_load(const void* from, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T) : "memory");
}
template <int T>
inline void tile_store(void* to, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
}
// C[r][n] += sum over quads and i of A[r][quad][i], unsigned, * B[quad][n][i], signed
template <int C, int A, int B>
inline void tile_dot_bytes() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}
// C[r][n] += the even and the odd terms of the sum over pairs of A[r][pair][i] * B[pair][n][i], bfloat16
template <int C, int A, int B>
inline void tile_dot_floats() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

}  // namespace
}  // namespace bertedge
