// AMX: eight tiles of 16 rows of 64 bytes, of one thread. With BERTEDGE_EMULATE_AMX they are computed in C++, so that
// the kernel can be tested on CPUs without AMX.
//
// The instructions are written as assembly: GCC's macros for them do not tell the compiler what memory they read and
// write, and so it may move or drop the stores before them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bertedge {
namespace {

constexpr int kTileRows = 16, kTileBytes = 64;

#if defined(BERTEDGE_EMULATE_AMX)

struct EmulatedTiles {
  uint8_t tiles[8][kTileRows][kTileBytes];
  bool configured = false;

  uint8_t (*operator[](int tile))[kTileBytes] {
    if (!configured) __builtin_trap();  // the CPU would stop the process, too
    return tiles[tile];
  }
};
thread_local EmulatedTiles emulated;

inline void configure_tiles() {
  std::memset(emulated.tiles, 0, sizeof emulated.tiles);
  emulated.configured = true;
}
inline void release_tiles() { emulated.configured = false; }

template <int T>
inline void tile_zero() {
  std::memset(emulated[T], 0, kTileRows * kTileBytes);
}
template <int T>
inline void tile_load(const void* from, size_t stride) {
  const char* row = static_cast<const char*>(from);
  for (int r = 0; r < kTileRows; r++, row += stride) std::memcpy(emulated[T][r], row, kTileBytes);
}
template <int T>
inline void tile_store(void* to, size_t stride) {
  char* row = static_cast<char*>(to);
  for (int r = 0; r < kTileRows; r++, row += stride) std::memcpy(row, emulated[T][r], kTileBytes);
}

// C[r][n] += sum over quads and i of A[r][quad][i], unsigned, * B[quad][n][i], signed
template <int C, int A, int B>
inline void tile_dot_bytes() {
  for (int r = 0; r < kTileRows; r++) {
    int32_t sums[16];
    std::memcpy(sums, emulated[C][r], sizeof sums);
    for (int quad = 0; quad < 16; quad++) {
      const uint8_t *a = emulated[A][r] + quad * 4, *b = emulated[B][quad];
      for (int n = 0; n < 16; n++) {
        for (int i = 0; i < 4; i++) sums[n] += a[i] * static_cast<int8_t>(b[n * 4 + i]);
      }
    }
    std::memcpy(emulated[C][r], sums, sizeof sums);
  }
}

// C[r][n] += the even and the odd terms of the sum over pairs of A[r][pair][i] * B[pair][n][i], bfloat16
template <int C, int A, int B>
inline void tile_dot_floats() {
  const auto number = [](const uint8_t* from) {
    const uint8_t bytes[4] = {0, 0, from[0], from[1]};
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  };
  for (int r = 0; r < kTileRows; r++) {
    for (int n = 0; n < 16; n++) {
      float even = 0, odd = 0, sum;
      for (int pair = 0; pair < 16; pair++) {
        const uint8_t *a = emulated[A][r] + pair * 4, *b = emulated[B][pair] + n * 4;
        even += number(a) * number(b);
        odd += number(a + 2) * number(b + 2);
      }
      std::memcpy(&sum, emulated[C][r] + n * 4, sizeof sum);
      sum += even + odd;
      std::memcpy(emulated[C][r] + n * 4, &sum, sizeof sum);
    }
  }
}

#else

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
template <int C, int A, int B>
inline void tile_dot_bytes() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

template <int C, int A, int B>
inline void tile_dot_floats() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace
}  // namespace bertedge
