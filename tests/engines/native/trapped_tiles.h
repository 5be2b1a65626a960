// The instructions of AMX on a CPU that lacks them. Such a CPU stops a process with SIGILL; here the signal's handler
// reads the instruction, computes what it says, and goes on after it. So the kernel for AMX is tested as it was
// compiled. Instructions are as in Intel's "64 and IA-32 Architectures Software Developer's Manual", volume 2.
//
// A program that includes this file has the handler. On anything but these instructions, and on tiles of wrong sizes,
// it ends.
#pragma once
#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace trapped {

constexpr int kTiles = 8, kMostRows = 16, kMostBytes = 64;

// The tiles of a thread, and their sizes.
struct Tiles {
  bool configured;
  uint16_t bytes[kTiles];
  uint8_t rows[kTiles];
  uint8_t values[kTiles][kMostRows][kMostBytes];
};
inline thread_local Tiles tiles;

[[noreturn]] inline void stop(const char* why) {
  const char before[] = "trapped instruction: ";
  (void)!write(STDERR_FILENO, before, sizeof before - 1);
  (void)!write(STDERR_FILENO, why, std::strlen(why));
  (void)!write(STDERR_FILENO, "\n", 1);
  _exit(3);
}
inline void require(bool right, const char* why) {
  if (!right) stop(why);
}

// An instruction with a VEX prefix of three bytes, which all of these have.
class Instruction {
 public:
  explicit Instruction(ucontext_t* context) : registers_(context->uc_mcontext.gregs) {
    const uint8_t* at = reinterpret_cast<const uint8_t*>(registers_[REG_RIP]);
    require(at[0] == 0xc4 && (at[1] & 31) == 2, "it is none of AMX");
    high_register_ = !(at[1] & 0x80), high_index_ = !(at[1] & 0x40), high_base_ = !(at[1] & 0x20);
    require(!(at[2] & 0x84), "W and L are 0 in those of AMX");
    prefix = at[2] & 3, second = ~at[2] >> 3 & 15, code = at[3];
    mode_ = at[4] >> 6, first = (at[4] >> 3 & 7) + 8 * high_register_, third = (at[4] & 7) + 8 * high_base_;
    next_ = at + 5;
    if (has_memory()) read_address(at[4] & 7);
  }

  bool has_memory() const { return mode_ != 3; }
  void skip() { registers_[REG_RIP] = reinterpret_cast<greg_t>(next_); }

  int prefix = 0, code = 0;              // 0: none, 1: 66, 2: F3, 3: F2
  int first = 0, second = 0, third = 0;  // registers: ModRM.reg, VEX.vvvv, ModRM.rm
  uint64_t address = 0, stride = 0;      // of memory; the stride is the scaled index
  bool is_indexed = false;

 private:
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, next_, sizeof value);
    next_ += sizeof value;
    return value;
  }
  uint64_t displacement() {
    const int64_t distance = mode_ == 1 ? number<int8_t>() : mode_ == 2 ? number<int32_t>() : 0;
    return static_cast<uint64_t>(distance);
  }
  uint64_t general(int index) const {
    static const int kPlaces[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return static_cast<uint64_t>(registers_[kPlaces[index]]);
  }
  void read_address(int base) {
    if (base == 4) {
      read_indexed(*next_++);
    } else if (mode_ == 0 && base == 5) {  // from the next instruction on
      const uint64_t distance = static_cast<uint64_t>(static_cast<int64_t>(number<int32_t>()));
      address = reinterpret_cast<uint64_t>(next_) + distance;
    } else {
      address = general(third) + displacement();
    }
  }
  void read_indexed(uint8_t byte) {
    is_indexed = true;
    const int index = (byte >> 3 & 7) + 8 * high_index_, base = (byte & 7) + 8 * high_base_;
    stride = index == 4 ? 0 : general(index) << (byte >> 6);
    if (mode_ == 0 && (byte & 7) == 5) {
      address = static_cast<uint64_t>(static_cast<int64_t>(number<int32_t>()));
    } else {
      address = general(base) + displacement();
    }
  }

  greg_t* registers_;
  const uint8_t* next_ = nullptr;
  int mode_ = 0;
  bool high_register_ = false, high_index_ = false, high_base_ = false;
};

inline void configure(const uint8_t* from) {
  require(from[0] == 1 && from[1] == 0, "tiles are configured by palette 1, from row 0 on");
  for (int i = 2; i < 16; i++) require(from[i] == 0, "reserved bytes of the configuration are 0");
  std::memset(&tiles, 0, sizeof tiles);
  std::memcpy(tiles.bytes, from + 16, sizeof tiles.bytes);
  std::memcpy(tiles.rows, from + 48, sizeof tiles.rows);
  for (int i = 0; i < kTiles; i++) {
    require(tiles.bytes[i] <= kMostBytes && tiles.rows[i] <= kMostRows, "a tile has 16 rows of 64 bytes at most");
  }
  tiles.configured = true;
}

inline int tile(int index) {
  require(tiles.configured && index < kTiles && tiles.rows[index] > 0, "the tile is not configured");
  return index;
}

inline void load(int to, uint64_t address, uint64_t stride) {
  std::memset(tiles.values[tile(to)], 0, sizeof tiles.values[to]);
  for (int r = 0; r < tiles.rows[to]; r++, address += stride) {
    std::memcpy(tiles.values[to][r], reinterpret_cast<const void*>(address), tiles.bytes[to]);
  }
}
inline void store(int from, uint64_t address, uint64_t stride) {
  for (int r = 0; r < tiles.rows[tile(from)]; r++, address += stride) {
    std::memcpy(reinterpret_cast<void*>(address), tiles.values[from][r], tiles.bytes[from]);
  }
}

inline void check_sizes(int c, int a, int b) {
  require(tile(c) != tile(a) && c != tile(b) && a != b, "the tiles of a product are three");
  require(tiles.rows[c] == tiles.rows[a] && tiles.bytes[c] == tiles.bytes[b] && tiles.bytes[a] == 4 * tiles.rows[b] &&
              tiles.bytes[c] % 4 == 0,
          "the sizes of the tiles do not fit");
}

// Bytes of a are unsigned, of b signed: TDPBUSD.
inline void multiply_bytes(int c, int a, int b) {
  check_sizes(c, a, b);
  for (int r = 0; r < tiles.rows[c]; r++) {
    int32_t sums[kMostBytes / 4];
    std::memcpy(sums, tiles.values[c][r], sizeof sums);
    for (int quad = 0; quad < tiles.rows[b]; quad++) {
      const uint8_t *x = tiles.values[a][r] + quad * 4, *w = tiles.values[b][quad];
      for (int n = 0; n < tiles.bytes[c] / 4; n++) {
        for (int i = 0; i < 4; i++) sums[n] += x[i] * static_cast<int8_t>(w[n * 4 + i]);
      }
    }
    std::memcpy(tiles.values[c][r], sums, sizeof sums);
  }
}

inline float from_bfloat16(const uint8_t* from) {
  const uint8_t bytes[4] = {0, 0, from[0], from[1]};
  float value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// TDPBF16PS: even and odd numbers have sums of their own.
inline void multiply_floats(int c, int a, int b) {
  check_sizes(c, a, b);
  for (int r = 0; r < tiles.rows[c]; r++) {
    for (int n = 0; n < tiles.bytes[c] / 4; n++) {
      float even = 0, odd = 0, sum;
      for (int pair = 0; pair < tiles.rows[b]; pair++) {
        const uint8_t *x = tiles.values[a][r] + pair * 4, *w = tiles.values[b][pair] + n * 4;
        even += from_bfloat16(x) * from_bfloat16(w);
        odd += from_bfloat16(x + 2) * from_bfloat16(w + 2);
      }
      std::memcpy(&sum, tiles.values[c][r] + n * 4, sizeof sum);
      sum += even + odd;
      std::memcpy(tiles.values[c][r] + n * 4, &sum, sizeof sum);
    }
  }
}

inline void execute(const Instruction& it) {
  const int which = it.code << 2 | it.prefix;
  const bool memory = it.has_memory();
  if (which == (0x49 << 2 | 0) && memory) return configure(reinterpret_cast<const uint8_t*>(it.address));
  if (which == (0x49 << 2 | 0) && it.first == 0 && it.third == 0) {
    tiles.configured = false;
  } else if (which == (0x49 << 2 | 3) && !memory && it.third == 0) {
    std::memset(tiles.values[tile(it.first)], 0, sizeof tiles.values[0]);
  } else if (which == (0x4b << 2 | 3) && it.is_indexed) {
    load(it.first, it.address, it.stride);
  } else if (which == (0x4b << 2 | 2) && it.is_indexed) {
    store(it.first, it.address, it.stride);
  } else if (which == (0x5e << 2 | 1) && !memory) {
    multiply_bytes(it.first, it.third, it.second);
  } else if (which == (0x5c << 2 | 2) && !memory) {
    multiply_floats(it.first, it.third, it.second);
  } else {
    stop("it is none that kernels use");
  }
}

inline void handle(int, siginfo_t*, void* context) {
  Instruction instruction(static_cast<ucontext_t*>(context));
  execute(instruction);
  instruction.skip();
}

struct Handler {
  Handler() {
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGILL, &action, nullptr);
  }
};
inline const Handler handler;

}  // namespace trapped
#endif
