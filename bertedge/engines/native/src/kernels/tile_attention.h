// Attention with tiles of bfloat16, for queries, keys and values that come from int8 products. On top of attention.h
// and tiles.h.
//
// A float is split in two bfloat16 numbers, high + low, which keep 16 of its 24 bits. Of the four products of two
// floats the three larger ones are added, in float32: each product is within 2^-16 of itself. Rounding the layer's
// input to int8 leaves up to 2^-9 of its range with one term, and 2^-17 with two.
//
// Rows of tiles hold 32 numbers as 16 pairs; number i is paired with number i + 16, so that two vectors make a row.
#pragma once
#include "attention.h"
#include "tiles.h"

namespace bertedge {
namespace {

constexpr int kPairedDepth = 32;                           // numbers in a row of a tile
constexpr size_t kTileNumbers = kTileRows * kPairedDepth;  // bfloat16 numbers in a tile

// Tiles of the high and of the low parts.
struct SplitTiles {
  uint16_t *high, *low;
};
struct SplitFloats {
  Ints high, low;  // bfloat16 in the upper half of each lane
};

inline Ints upper_half(Floats v) {  // rounded
  return _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(0x8000)),
                          _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
}
inline SplitFloats split(Floats v) {
  const Ints high = upper_half(v);
  return {high, upper_half(v - _mm512_castsi512_ps(high))};
}
inline Ints pairs(Ints first, Ints second) {
  return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(first, 16), second);
}
inline void store_row(uint16_t* tile, int row, Ints v) { _mm512_store_si512(tile + row * kPairedDepth, v); }

// 32 numbers as a row of a tile.
inline void split_row(Floats first, Floats second, const SplitTiles& to, size_t tile, int row) {
  const SplitFloats a = split(first), b = split(second);
  store_row(to.high + tile * kTileNumbers, row, pairs(a.high, b.high));
  store_row(to.low + tile * kTileNumbers, row, pairs(a.low, b.low));
}

struct TileScratch {
  SplitTiles keys, values, queries, weights;
  float *scores, *sums;                 // (16, padded_keys), (16, padded_size)
  int padded_keys, padded_size, depth;  // depth: tiles that a query fills

  TileScratch(float* scratch, int count, int size)
      : padded_keys(round_up(count, kPairedDepth)),
        padded_size(round_up(size, kTileRows)),
        depth(round_up(size, kPairedDepth) / kPairedDepth) {
    const size_t misplaced = reinterpret_cast<uintptr_t>(scratch) % kTileBytes / sizeof(float);
    next_ = scratch + (misplaced ? kTileBytes / sizeof(float) - misplaced : 0);
    const int tall = padded_keys / kPairedDepth;
    keys = take(padded_keys / kTileRows * depth);
    values = take(padded_size / kTileRows * tall);
    queries = take(depth);
    weights = take(tall);
    scores = next_;
    sums = scores + kTileRows * padded_keys;
  }

  static size_t floats(int longest, int size) {
    const size_t keys = round_up(longest, kPairedDepth), width = round_up(size, kPairedDepth);
    return 2 * keys * width + kTileRows * (2 * keys + 2 * width) + kTileBytes / sizeof(float);
  }

 private:
  SplitTiles take(int tiles) {
    uint16_t* high = reinterpret_cast<uint16_t*>(next_);
    next_ += tiles * kTileNumbers;
    return {high, high + tiles * kTileNumbers};
  }
  float* next_;
};

// Tiles of keys: [groups of 16 keys][depth][pairs of channels][16 keys].
inline void arrange_keys(const Attention& t, const AttentionItem& item, const TileScratch& s) {
  const float* k = t.k + static_cast<size_t>(item.first_key) * t.kv_stride + static_cast<size_t>(item.head) * t.size;
  for (int group = 0; group < s.padded_keys / kTileRows; group++) {
    for (int d = 0; d < s.depth; d++) {
      Floats high[kTileRows], low[kTileRows];
      for (int i = 0; i < kTileRows; i++) {
        const int key = group * kTileRows + i, left = key < item.keys ? t.size - d * kPairedDepth : 0;
        const float* row = k + static_cast<size_t>(left ? key : 0) * t.kv_stride + d * kPairedDepth;
        const SplitFloats a = split(load_left(row, left)), b = split(load_left(row + kWidth, left - kWidth));
        high[i] = _mm512_castsi512_ps(pairs(a.high, b.high));
        low[i] = _mm512_castsi512_ps(pairs(a.low, b.low));
      }
      transpose(high);
      transpose(low);
      const size_t tile = static_cast<size_t>(group) * s.depth + d;
      for (int i = 0; i < kTileRows; i++) {
        store_row(s.keys.high + tile * kTileNumbers, i, _mm512_castps_si512(high[i]));
        store_row(s.keys.low + tile * kTileNumbers, i, _mm512_castps_si512(low[i]));
      }
    }
  }
}

// Tiles of values: [groups of 16 channels][groups of 32 keys][pairs of keys][16 channels].
inline void arrange_values(const Attention& t, const AttentionItem& item, const TileScratch& s) {
  const float* v = t.v + static_cast<size_t>(item.first_key) * t.kv_stride + static_cast<size_t>(item.head) * t.size;
  const int tall = s.padded_keys / kPairedDepth;
  for (int group = 0; group < s.padded_size / kTileRows; group++) {
    const int left = t.size - group * kTileRows;
    const auto values = [&](int key) {
      if (key >= item.keys) return all(0.0f);
      return load_left(v + static_cast<size_t>(key) * t.kv_stride + group * kTileRows, left);
    };
    for (int key = 0; key < s.padded_keys; key += kPairedDepth) {
      const size_t tile = static_cast<size_t>(group) * tall + key / kPairedDepth;
      for (int i = 0; i < kTileRows; i++) split_row(values(key + i), values(key + kTileRows + i), s.values, tile, i);
    }
  }
}

// Adds a b to G tiles of sums, whose columns follow one another in b.
template <int G>
inline void add_tiles(const uint16_t* a, const uint16_t* b, int depth) {
  const size_t step = depth * kTileNumbers;
  for (int d = 0; d < depth; d++, a += kTileNumbers, b += kTileNumbers) {
    tile_load<4>(a, kTileBytes);
    tile_load<5>(b, kTileBytes);
    tile_dot_floats<0, 4, 5>();
    if constexpr (G > 1) {
      tile_load<6>(b + step, kTileBytes);
      tile_dot_floats<1, 4, 6>();
    }
    if constexpr (G > 2) {
      tile_load<7>(b + 2 * step, kTileBytes);
      tile_dot_floats<2, 4, 7>();
    }
    if constexpr (G > 3) {
      tile_load<5>(b + 3 * step, kTileBytes);
      tile_dot_floats<3, 4, 5>();
    }
  }
}

// c (16, columns) = a (16, depth tiles) b
inline void multiply_split(const SplitTiles& a, const SplitTiles& b, int depth, float* c, int columns) {
  const size_t stride = columns * sizeof(float);
  for (int j = 0; j < columns; j += 4 * kTileRows) {
    const int left = (columns - j) / kTileRows;
    const size_t at = j / kTileRows * depth * kTileNumbers;
    with_rows<4>(left < 4 ? left : 4, [&](auto count) {
      constexpr int kGroups = decltype(count)::value;
      tile_zero<0>();
      if constexpr (kGroups > 1) tile_zero<1>();
      if constexpr (kGroups > 2) tile_zero<2>();
      if constexpr (kGroups > 3) tile_zero<3>();
      add_tiles<kGroups>(a.high, b.low + at, depth);
      add_tiles<kGroups>(a.low, b.high + at, depth);
      add_tiles<kGroups>(a.high, b.high + at, depth);
      tile_store<0>(c + j, stride);
      if constexpr (kGroups > 1) tile_store<1>(c + j + kTileRows, stride);
      if constexpr (kGroups > 2) tile_store<2>(c + j + 2 * kTileRows, stride);
      if constexpr (kGroups > 3) tile_store<3>(c + j + 3 * kTileRows, stride);
    });
  }
}

// 16 queries at most, from `row` on.
inline void attend_tile(const Attention& t, const AttentionItem& item, const TileScratch& s, int row, int rows) {
  const size_t column = static_cast<size_t>(item.head) * t.size;
  for (int r = 0; r < kTileRows; r++) {
    const float* q = t.q + static_cast<size_t>(r < rows ? row + r : row) * t.q_stride + column;
    for (int d = 0; d < s.depth; d++, q += kPairedDepth) {
      const int left = r < rows ? t.size - d * kPairedDepth : 0;
      split_row(load_left(q, left), load_left(q + kWidth, left - kWidth), s.queries, d, r);
    }
  }
  multiply_split(s.queries, s.keys, s.depth, s.scores, s.padded_keys);
  const size_t stride = s.padded_keys;
  float totals[kTileRows];
  soften(t, item.head, {s.scores, stride, rows, t.places + row, 0, item.keys, s.padded_keys}, totals);
  for (int r = 0; r < kTileRows; r++) {
    const float* scores = s.scores + r * stride;
    for (int j = 0; j < s.padded_keys; j += kPairedDepth) {
      split_row(load(scores + j), load(scores + j + kWidth), s.weights, j / kPairedDepth, r);
    }
  }
  multiply_split(s.weights, s.values, s.padded_keys / kPairedDepth, s.sums, s.padded_size);
  for (int r = 0; r < rows; r++) {
    const Floats inverse = all(1.0f / totals[r]);
    float* out = t.out + static_cast<size_t>(row + r) * t.out_stride + column;
    for_columns(t.size, [&](int c, int n) { store_some(out + c, load(s.sums + r * s.padded_size + c) * inverse, n); });
  }
}

void tile_attention(const Attention& t, const AttentionItem& item, float* scratch) {
  if (!t.coarse) return attention(t, item, scratch);
  const TileScratch s(scratch, item.keys, t.size);
  arrange_keys(t, item, s);
  arrange_values(t, item, s);
  for (int first = 0; first < item.queries; first += kTileRows) {
    const int rows = item.queries - first < kTileRows ? item.queries - first : kTileRows;
    attend_tile(t, item, s, item.first_query + first, rows);
  }
}

size_t tile_attention_scratch(int longest, int size) {
  const size_t plain = attention_scratch(longest, size), tiles = TileScratch::floats(longest, size);
  return plain > tiles ? plain : tiles;
}

}  // namespace
}  // namespace bertedge
