// int8 products where no instruction adds four of them in 32 bits: vpmaddubsw multiplies unsigned by signed bytes and
// adds two neighbouring products in 16 bits, where a large sum is cut off ("saturates"). Never here:
//
// - If the two weights of every pair add up to 128 at most, levels of 255 give at most 32640. Bundles for such CPUs
//   have these weights (bertedge/weight_range.py). pack_pairs notes for each panel whether it holds.
// - Otherwise levels - 128 are multiplied: |level - 128| by the weight with its sign, at most 2 * 128 * 127 = 32512.
//   The sums start at 128 * sum(weights), which pack_pairs notes too. This takes a quarter more instructions.
//
// A kernel file defines `struct Bytes`, vectors of bytes, before it includes this file: see avx2.cpp.
#pragma once
#include "int8_product.h"

namespace bertedge {
namespace {

// At the end of a panel.
struct PanelNotes {
  int32_t start[kPanel];  // 128 * sum of the output's weights
  int32_t saturates;      // 1: two products of a pair may need more than 16 bits
};
static_assert(sizeof(PanelNotes) <= kPanelNotes, "a panel has no room for its notes");

inline const PanelNotes* notes_of(const int8_t* panel, int blocks) {
  return reinterpret_cast<const PanelNotes*>(panel + static_cast<size_t>(blocks) * kBlock * kPanel);
}

// Weights as pack_quads orders them, and the notes.
void pack_pairs(const WeightView<int8_t>& weight, int panel, int8_t* to) {
  constexpr int kVectors = kPanel * 4 / Bytes::kSize, kHalf = kVectors / 2;  // of a quad of inputs
  pack_quads(weight, panel, to);
  const Bytes::Vector ones = Bytes::all(0x01010101);
  Bytes::Vector sums[kVectors], largest = Bytes::all(0);
  for (int i = 0; i < kVectors; i++) sums[i] = Bytes::all(0);
  const int quads = blocks_of(weight.inputs) * 32;  // of half a panel
  for (int quad = 0; quad < quads; quad++, to += 64) {
    for (int i = 0; i < kHalf; i++) {
      const Bytes::Vector w = Bytes::load(to + i * Bytes::kSize);
      Bytes::Vector& sum = sums[quad / 16 % 2 * kHalf + i];
      sum = Bytes::add_products(sum, ones, w);
      largest = Bytes::larger_words(largest, Bytes::sizes_of_pairs(w));
    }
  }
  PanelNotes notes = {};
  alignas(64) int32_t outputs[kPanel];
  alignas(64) int16_t pairs[Bytes::kSize / 2];
  for (int i = 0; i < kVectors; i++) Bytes::store(outputs + i * Bytes::kSize / 4, sums[i]);
  for (int i = 0; i < kPanel; i++) notes.start[i] = 128 * outputs[i];
  Bytes::store(pairs, largest);
  for (const int16_t pair : pairs) {
    if (pair > 32767 / 255) notes.saturates = 1;
  }
  __builtin_memcpy(to, &notes, sizeof notes);
}

inline Bytes::Vector four_levels(const uint8_t* levels) {
  int32_t four;
  __builtin_memcpy(&four, levels, 4);
  return Bytes::all(four);
}

// The levels - 128 of R rows in a block, and their absolute values.
template <int R>
struct SignedLevels {
  alignas(64) uint8_t levels[R * kBlock], sizes[R * kBlock];

  explicit SignedLevels(const uint8_t* from) {
    for (int i = 0; i < R * kBlock; i += Bytes::kSize) {
      const Bytes::Vector v = Bytes::minus_128(Bytes::load(from + i));
      Bytes::store(levels + i, v);
      Bytes::store(sizes + i, Bytes::absolute(v));
    }
  }
};

struct PairedDot {
  static constexpr int kRows = Bytes::kRows;

  template <int R>
  static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums, Ahead& ahead) {
    const PanelNotes* notes = notes_of(panel, blocks);
    if (!notes->saturates) {
      for (int i = 0; i < kPanel; i += kOutputs) multiply_plain<R>(levels, panel + i * kBlock, blocks, sums + i, ahead);
      return;
    }
    for (int r = 0; r < R; r++) __builtin_memcpy(sums + r * kPanel, notes->start, sizeof notes->start);
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, panel += kPanel * kBlock) {
      ahead.fetch<R>();
      const SignedLevels<R> block(levels);
      for (int i = 0; i < kPanel; i += kOutputs) multiply_signed<R>(block, panel + i * kBlock, sums + i);
    }
  }

 private:
  // Of two vectors, and how far the second lies from the first: in the same 16 outputs or in the next.
  static constexpr int kOutputs = Bytes::kSize / 2, kSecond = kOutputs == 16 ? Bytes::kSize : kPanel * kBlock / 2;

  // Sums of R rows and two vectors of outputs.
  template <int R>
  struct Sums {
    Bytes::Vector v[R][2];

    void store(int32_t* sums) const {
      for (int r = 0; r < R; r++) {
        Bytes::store(sums + r * kPanel, v[r][0]);
        Bytes::store(sums + r * kPanel + kOutputs / 2, v[r][1]);
      }
    }
  };

  template <int R>
  static void multiply_plain(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums, Ahead& ahead) {
    Sums<R> s;
    for (int r = 0; r < R; r++) s.v[r][0] = s.v[r][1] = Bytes::all(0);
    for (int b = 0; b < blocks; b++, levels += kGroup * kBlock, weights += kPanel * kBlock) {
      ahead.fetch<R>();
#pragma GCC unroll 4
      for (int quad = 0; quad < 16; quad++) {
        const Bytes::Vector w0 = Bytes::load(weights + quad * 64), w1 = Bytes::load(weights + quad * 64 + kSecond);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const Bytes::Vector x = four_levels(levels + r * kBlock + quad * 4);
          s.v[r][0] = Bytes::add_products(s.v[r][0], x, w0);
          s.v[r][1] = Bytes::add_products(s.v[r][1], x, w1);
        }
      }
    }
    s.store(sums);
  }

  // Adds the products of one block to the sums.
  template <int R>
  static void multiply_signed(const SignedLevels<R>& block, const int8_t* weights, int32_t* sums) {
    Sums<R> s;
    for (int r = 0; r < R; r++) {
      s.v[r][0] = Bytes::load(sums + r * kPanel);
      s.v[r][1] = Bytes::load(sums + r * kPanel + kOutputs / 2);
    }
#pragma GCC unroll 4
    for (int quad = 0; quad < 16; quad++) {
      const Bytes::Vector w0 = Bytes::load(weights + quad * 64), w1 = Bytes::load(weights + quad * 64 + kSecond);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const int at = r * kBlock + quad * 4;
        const Bytes::Vector x = four_levels(block.levels + at), size = four_levels(block.sizes + at);
        s.v[r][0] = Bytes::add_products(s.v[r][0], size, Bytes::with_sign(w0, x));
        s.v[r][1] = Bytes::add_products(s.v[r][1], size, Bytes::with_sign(w1, x));
      }
    }
    s.store(sums);
  }
};

}  // namespace
}  // namespace bertedge
