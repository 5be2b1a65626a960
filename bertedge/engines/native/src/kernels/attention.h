// softmax(q k' / sqrt(size)) v in float32 (Vaswani et al. 2017, equation 1). On top of a simd_*.h file.
//
// Keys are transposed and values copied once for each head of a text, so that both products read whole vectors. A few
// queries are computed at a time; their scores stay in the cache.
#pragma once
#include "product.h"

namespace bertedge {
namespace {

constexpr int kKeyStep = 2 * kWidth;

struct AttentionScratch {
  float *keys, *values, *scores, *sums;
  int padded_keys, padded_size;

  AttentionScratch(float* scratch, int count, int size) {
    padded_keys = round_up(count, kKeyStep);
    padded_size = round_up(size, kKeyStep);
    keys = scratch;                                              // (size, padded_keys)
    values = keys + static_cast<size_t>(size) * padded_keys;     // (count, padded_size)
    scores = values + static_cast<size_t>(count) * padded_size;  // (kAttentionRows, padded_keys)
    sums = scores + static_cast<size_t>(kAttentionRows) * padded_keys;  // (kAttentionRows, padded_size)
  }
};

size_t attention_scratch(int longest, int size) {
  const size_t keys = round_up(longest, kKeyStep), width = round_up(size, kKeyStep);
  return keys * size + longest * width + kAttentionRows * (keys + width);
}

// c (R, columns) = a (R, depth) b (depth, columns); columns are a multiple of kKeyStep.
template <int R>
inline void multiply(const float* a, size_t a_stride, const float* b, size_t b_stride, float* c, size_t c_stride,
                     int depth, int columns) {
  for (int j = 0; j < columns; j += kKeyStep) {
    Floats v[R][2];
    for (int r = 0; r < R; r++) v[r][0] = v[r][1] = all(0.0f);
    const float* row = b + j;
    for (int k = 0; k < depth; k++, row += b_stride) {
      const Floats b0 = load(row), b1 = load(row + kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const Floats x = all(a[r * a_stride + k]);
        v[r][0] = fma(x, b0, v[r][0]);
        v[r][1] = fma(x, b1, v[r][1]);
      }
    }
    for (int r = 0; r < R; r++) {
      store(c + r * c_stride + j, v[r][0]);
      store(c + r * c_stride + j + kWidth, v[r][1]);
    }
  }
}

// The keys that the query at `place` reads: [first, last).
struct Span {
  int first, last;
};
inline Span span_of(const Attention& t, int place, int keys) {
  if (!t.reach) return {0, keys};
  const int first = place - t.reach > 0 ? place - t.reach : 0;
  const int last = place + t.reach + 1 < keys ? place + t.reach + 1 : keys;
  return {first, last};
}

// Adds bias[place of key - place of query], clipped at both ends, to scaled scores.
inline void add_bias(const Attention& t, int head, int place, int keys, float* scores) {
  const float* bias = t.bias + static_cast<size_t>(head) * (2 * t.bias_reach + 1) + t.bias_reach;
  for (int j = 0; j < keys; j++) {
    const int far = j - place;
    scores[j] += bias[far < -t.bias_reach ? -t.bias_reach : far > t.bias_reach ? t.bias_reach : far];
  }
}

// Scores -> weights that are not divided by their sum yet, which is returned. Outside the span they are zero.
inline float soften(const Attention& t, int head, int place, int keys, int padded, float* scores) {
  const Floats scale = all(t.scale);
  const Span span = span_of(t, place, keys);
  for (int j = 0; j < padded; j += kWidth) store(scores + j, load(scores + j) * scale);
  if (t.bias) add_bias(t, head, place, keys, scores);
  for (int j = 0; j < span.first; j++) scores[j] = -1e30f;
  for (int j = span.last; j < padded; j++) scores[j] = -1e30f;
  Floats high = load(scores), total = all(0.0f);
  for (int j = kWidth; j < padded; j += kWidth) high = max(high, load(scores + j));
  const Floats top = all(largest(high));
  for (int j = 0; j < padded; j += kWidth) {
    const Floats e = exp2((load(scores + j) - top) * all(kLog2E));
    store(scores + j, e);
    total = total + e;
  }
  // exp2 never gives less than 2^-126: what is outside the span adds nothing that a float could show
  return sum(total);
}

void attention(const Attention& t, const AttentionItem& item, float* scratch) {
  const AttentionScratch s(scratch, item.keys, t.size);
  const size_t column = static_cast<size_t>(item.head) * t.size;
  for (int j = 0; j < item.keys; j++) {
    const float* k = t.k + static_cast<size_t>(item.first_key + j) * t.kv_stride + column;
    const float* v = t.v + static_cast<size_t>(item.first_key + j) * t.kv_stride + column;
    for (int i = 0; i < t.size; i++) s.keys[static_cast<size_t>(i) * s.padded_keys + j] = k[i];
    float* values = s.values + static_cast<size_t>(j) * s.padded_size;
    for_columns(t.size, [&](int c, int n) { store_some(values + c, load_some(v + c, n), n); });
    for (int i = t.size; i < s.padded_size; i++) values[i] = 0.0f;
  }
  for (int i = 0; i < t.size; i++) {
    for (int j = item.keys; j < s.padded_keys; j++) s.keys[static_cast<size_t>(i) * s.padded_keys + j] = 0.0f;
  }
  for (int first = 0; first < item.queries; first += kAttentionRows) {
    const int rows = item.queries - first < kAttentionRows ? item.queries - first : kAttentionRows;
    const size_t row = static_cast<size_t>(item.first_query + first);
    with_rows<kAttentionRows>(rows, [&](auto count) {
      constexpr int kCount = decltype(count)::value;
      multiply<kCount>(t.q + row * t.q_stride + column, t.q_stride, s.keys, s.padded_keys, s.scores, s.padded_keys,
                       t.size, s.padded_keys);
      float totals[kCount];
      for (int r = 0; r < kCount; r++) {
        float* scores = s.scores + static_cast<size_t>(r) * s.padded_keys;
        totals[r] = soften(t, item.head, t.places[row + r], item.keys, s.padded_keys, scores);
      }
      multiply<kCount>(s.scores, s.padded_keys, s.values, s.padded_size, s.sums, s.padded_size, item.keys, s.padded_size);
      for (int r = 0; r < kCount; r++) {
        const Floats inverse = all(1.0f / totals[r]);
        float* out = t.out + (row + r) * t.out_stride + column;
        const float* sums = s.sums + static_cast<size_t>(r) * s.padded_size;
        for_columns(t.size, [&](int c, int n) { store_some(out + c, load_some(sums + c, n) * inverse, n); });
      }
    });
  }
}

}  // namespace
}  // namespace bertedge
