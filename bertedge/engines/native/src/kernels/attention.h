// softmax(q k' / sqrt(size)) v in float32 (Vaswani et al. 2017, equation 1). On top of a simd_*.h file.
//
// Keys are transposed once for each head of a text, so that both products read whole vectors. A few queries are
// computed at a time; their scores stay in the cache.
#pragma once
#include "product.h"

namespace bertedge {
namespace {

struct AttentionScratch {
  float* keys;          // (size, padded_keys), transposed
  const float* values;  // (keys, value_stride), whole vectors of them
  float* scores;        // (kSumRows, padded_keys)
  float* sums;          // (kSumRows, padded_size)
  int padded_keys, padded_size;
  size_t value_stride;

  AttentionScratch(float* scratch, int count, int size) {
    padded_keys = round_up(count, kWidth);
    padded_size = round_up(size, kWidth);
    keys = scratch;
    scores = keys + static_cast<size_t>(padded_size) * padded_keys;
    sums = scores + static_cast<size_t>(kSumRows) * padded_keys;
    values = sums + static_cast<size_t>(kSumRows) * padded_size;
  }
};

size_t attention_scratch(int longest, int size) {
  const size_t keys = round_up(longest, kWidth), width = round_up(size, kWidth);
  return 2 * keys * width + kSumRows * (keys + width);
}

// c (R, columns) = a (R, depth) b (depth, columns), for V vectors of columns.
template <int R, int V>
inline void multiply_columns(const float* a, size_t a_stride, const float* b, size_t b_stride, float* c,
                             size_t c_stride, int depth) {
  Floats v[R][V];
  float_block(a, a_stride, b, b_stride, depth, v);
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) store(c + r * c_stride + i * kWidth, v[r][i]);
  }
}

// Columns are a multiple of kWidth.
template <int R>
inline void multiply(const float* a, size_t a_stride, const float* b, size_t b_stride, float* c, size_t c_stride,
                     int depth, int columns) {
  constexpr int kStep = kSumVectors * kWidth;
  int j = 0;
  for (; j + kStep <= columns; j += kStep) {
    multiply_columns<R, kSumVectors>(a, a_stride, b + j, b_stride, c + j, c_stride, depth);
  }
  for (; j < columns; j += kWidth) multiply_columns<R, 1>(a, a_stride, b + j, b_stride, c + j, c_stride, depth);
}

// Keys as columns, and values in whole vectors.
inline void arrange(const Attention& t, const AttentionItem& item, AttentionScratch& s) {
  const size_t column = static_cast<size_t>(item.head) * t.size;
  const float* k = t.k + static_cast<size_t>(item.first_key) * t.kv_stride + column;
  const float* v = t.v + static_cast<size_t>(item.first_key) * t.kv_stride + column;
  for (int j = 0; j < item.keys; j += kWidth) {
    const int keys = item.keys - j < kWidth ? item.keys - j : kWidth;
    for_columns(t.size, [&](int c, int n) {
      Floats block[kWidth];
      for (int i = 0; i < kWidth; i++) {
        block[i] = i < keys ? load_some(k + static_cast<size_t>(j + i) * t.kv_stride + c, n) : all(0.0f);
      }
      transpose(block);
      for (int i = 0; i < kWidth; i++) store(s.keys + static_cast<size_t>(c + i) * s.padded_keys + j, block[i]);
    });
  }
  if (s.padded_size == t.size) {
    s.values = v;
    s.value_stride = t.kv_stride;
    return;
  }
  s.value_stride = s.padded_size;
  float* values = const_cast<float*>(s.values);
  for (int j = 0; j < item.keys; j++, values += s.padded_size) {
    for_columns(t.size,
                [&](int c, int n) { store(values + c, load_some(v + static_cast<size_t>(j) * t.kv_stride + c, n)); });
  }
}

// A score of a key that is not read.
constexpr float kNever = -1e30f;

// Keys from `first` to the one before `last`.
struct KeyRange {
  int first, last;
};
// Those that the query at `place` reads.
inline KeyRange keys_at(const Attention& t, int place, int keys) {
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

// The scores of some queries with some keys.
struct Scores {
  float* rows;  // (count, stride)
  size_t stride;
  int count;
  const int32_t* places;  // (count): of the queries, in their text
  int first_key;          // place of the first key
  int keys, padded;       // padded to whole vectors

  float* operator[](int row) const { return rows + row * stride; }
  int place(int row) const { return places[row] - first_key; }  // counted from the first key
};

// Finishes the scores of a query, except for the scale if there is no bias; returns the largest.
inline float largest_score(const Attention& t, int head, const Scores& scores, int row) {
  float* x = scores[row];
  if (t.bias) {
    for (int j = 0; j < scores.padded; j += kWidth) store(x + j, load(x + j) * all(t.scale));
    add_bias(t, head, scores.place(row), scores.keys, x);
  }
  const KeyRange span = keys_at(t, scores.place(row), scores.keys);
  for (int j = 0; j < span.first; j++) x[j] = kNever;
  for (int j = span.last; j < scores.padded; j++) x[j] = kNever;
  Floats high = load(x);
  for (int j = kWidth; j < scores.padded; j += kWidth) high = max(high, load(x + j));
  return largest(high);
}

// Scores -> weights that are not divided by their sum yet, which is returned.
inline float weigh(const Attention& t, const Scores& scores, int row, float largest) {
  float* x = scores[row];
  const float scale = t.bias ? 1 : t.scale;
  const Floats steps = all(scale * kLog2E), top = all(0.0f) - all(largest) * steps;
  Floats total = all(0.0f);
  for (int j = 0; j < scores.padded; j += kWidth) {
    const Floats e = exp2(fma(load(x + j), steps, top));
    store(x + j, e);
    total = total + e;
  }
  if (t.reach) {  // exact zeros, so that it does not matter how many keys outside the span are computed
    const KeyRange span = keys_at(t, scores.place(row), scores.keys);
    total = all(0.0f);
    for (int j = 0; j < span.first; j++) x[j] = 0;
    for (int j = span.last; j < scores.padded; j++) x[j] = 0;
    for (int j = 0; j < scores.padded; j += kWidth) total = total + load(x + j);
  }
  // exp2 never gives less than 2^-126: what is outside the text adds nothing that a float could show
  return sum(total);
}

// Scores -> weights; totals gets their sums, (count). Step by step for all queries, so that the CPU need not wait for
// the end of a sum before it begins with the next query.
inline void soften(const Attention& t, int head, const Scores& scores, float* totals) {
  for (int r = 0; r < scores.count; r++) totals[r] = largest_score(t, head, scores, r);
  for (int r = 0; r < scores.count; r++) totals[r] = weigh(t, scores, r, totals[r]);
}

// The keys that any of some queries reads, from a whole vector on.
inline KeyRange keys_of(const Attention& t, const AttentionItem& item, int row, int rows) {
  if (!t.reach) return {0, item.keys};
  KeyRange all = keys_at(t, t.places[row], item.keys);
  for (int r = 1; r < rows; r++) {
    const KeyRange one = keys_at(t, t.places[row + r], item.keys);
    if (one.first < all.first) all.first = one.first;
    if (one.last > all.last) all.last = one.last;
  }
  return {all.first - all.first % kWidth, all.last};
}

template <int R>
inline void attend_rows(const Attention& t, const AttentionItem& item, const AttentionScratch& s, int row) {
  const size_t column = static_cast<size_t>(item.head) * t.size, stride = s.padded_keys, width = s.padded_size;
  const KeyRange read = keys_of(t, item, row, R);
  const int keys = read.last - read.first, padded = round_up(keys, kWidth);
  multiply<R>(t.q + static_cast<size_t>(row) * t.q_stride + column, t.q_stride, s.keys + read.first, stride, s.scores,
              stride, t.size, padded);
  float totals[R];
  soften(t, item.head, {s.scores, stride, R, t.places + row, read.first, keys, padded}, totals);
  multiply<R>(s.scores, stride, s.values + s.value_stride * read.first, s.value_stride, s.sums, width, keys,
              s.padded_size);
  for (int r = 0; r < R; r++) {
    const Floats inverse = all(1.0f / totals[r]);
    float* out = t.out + static_cast<size_t>(row + r) * t.out_stride + column;
    for_columns(t.size, [&](int c, int n) { store_some(out + c, load(s.sums + r * width + c) * inverse, n); });
  }
}

// Calls work(std::integral_constant<int, R>, row) for groups of R <= kMost queries of nearly the same size: a few rows
// alone cannot hide the latency of their sums.
template <int kMost, class Work>
inline void for_queries(const AttentionItem& item, Work&& work) {
  const int groups = (item.queries + kMost - 1) / kMost;
  for (int g = 0; g < groups; g++) {
    const auto place = [&](int group) { return static_cast<int>(static_cast<int64_t>(item.queries) * group / groups); };
    const int begin = place(g), end = place(g + 1);
    with_rows<kMost>(end - begin, [&](auto count) { work(count, item.first_query + begin); });
  }
}

void attention(const Attention& t, const AttentionItem& item, float* scratch) {
  AttentionScratch s(scratch, item.keys, t.size);
  arrange(t, item, s);
  for_queries<kSumRows>(item, [&](auto count, int row) { attend_rows<decltype(count)::value>(t, item, s, row); });
}

}  // namespace
}  // namespace bertedge
