// Attention with integers of 16 bits, for queries, keys and values that come from int8 products: an instruction has
// twice as many products as with float32. On top of attention.h, for instruction sets that multiply pairs of 16 bits.
//
// Keys and values are rounded by the largest number of a channel in the text, to 13 bits and a sign, and queries are
// multiplied with the steps of the keys in return. A query, and its weights after the softmax, is a row of a product:
// its levels are as fine as 16 bits and the sum of the products, which must fit in 32 bits, allow. The layers' inputs
// were rounded to 8 bits, and their weights too.
//
// A lane holds a pair: number i, and number i + kWidth of a block of 2 kWidth, so that two vectors make one of pairs.
// A kernel file defines, before it includes this one:
//
//   struct Pairs {
//     static Ints all(int32_t pair);
//     static void store(int32_t* to, Ints pairs);
//     static Floats as_floats(Ints pairs);         // the same bits
//     static Ints join(Ints first, Ints second);   // whole numbers of 16 bits -> pairs
//     static Ints dot(Ints sum, Ints a, Ints b);   // adds both products of each pair
//   };
#pragma once
#include "attention.h"

namespace bertedge {
namespace {

constexpr int kPairBlock = 2 * kWidth;
// Rows of a product whose sums fill the registers; with more of them GCC 12 copies sums to the stack.
constexpr int kPairRows = kSumRows < 8 ? kSumRows : 8;
// Arranging pairs takes longer than it saves if a text is short or a head small. This may not depend on the queries: a
// text's result is the same bits however they are split.
constexpr int kLeastKeys = 64, kMostKeys = 65536;
inline bool is_worth_pairs(const Attention& t, int keys) {
  return t.coarse && t.size > kWidth && keys >= kLeastKeys && keys <= kMostKeys;
}

// The largest level of a column and of a row of a product, and the sum of a row's absolute levels, so that no sum of
// products overflows: rounding adds less than 1 for each of kMostKeys levels.
constexpr int kColumnLimit = 8191, kRowLimit = 32767, kRowSum = INT32_MAX / kColumnLimit - kMostKeys;

// The levels that a row has for one unit of its numbers, whose largest and whose sum are given.
inline float levels_of_unit(float largest, float sum) {
  const float by_sum = kRowSum / sum, by_largest = kRowLimit / largest;
  return by_sum < by_largest ? by_sum : by_largest;
}

struct PairScratch {
  int32_t* keys;       // [groups of kWidth keys][pairs of channels][kWidth]
  int32_t* values;     // [groups of kWidth channels][pairs of keys][kWidth]
  int32_t* queries;    // (kPairRows, channel_pairs)
  float* scores;       // (kPairRows, padded_keys); then, in the same place, the weights as pairs of levels
  float* key_steps;    // (padded_size), of each channel
  float* value_steps;  // (padded_size)
  float* levels;       // (padded_size): of one unit of each channel
  int padded_keys, padded_size, key_pairs, channel_pairs;

  PairScratch(float* scratch, int count, int size)
      : padded_keys(round_up(count, kPairBlock)),
        padded_size(round_up(size, kPairBlock)),
        key_pairs(padded_keys / 2),
        channel_pairs(padded_size / 2) {
    const size_t pairs = static_cast<size_t>(padded_keys) * channel_pairs;
    keys = reinterpret_cast<int32_t*>(scratch);
    values = keys + pairs;
    queries = values + pairs;
    scores = scratch + 2 * pairs + static_cast<size_t>(kPairRows) * channel_pairs;
    key_steps = scores + static_cast<size_t>(kPairRows) * padded_keys;
    value_steps = key_steps + padded_size;
    levels = value_steps + padded_size;
  }

  static size_t floats(int longest, int size) {
    const size_t keys = round_up(longest, kPairBlock), width = round_up(size, kPairBlock);
    return keys * width + kPairRows * (keys + width / 2) + 3 * width;
  }
};

// The step of each channel of some rows, and how many levels a unit has.
inline void measure_channels(const float* x, size_t stride, int rows, int size, int padded, float* steps,
                             float* levels) {
  for (int c = 0; c < padded; c += kWidth) {
    const auto number = [&](int row) { return absolute(load_left(x + row * stride + c, size - c)); };
    Floats largest = all(1e-30f), other = largest;  // not zero, which has no reciprocal
    for (int row = 0; row + 1 < rows; row += 2) {   // two at a time hide the latency
      largest = max(largest, number(row));
      other = max(other, number(row + 1));
    }
    largest = max(max(largest, other), number(rows - 1));
    store(steps + c, largest * all(1.0f / kColumnLimit));
    store(levels + c, all(kColumnLimit) / largest);
  }
}

template <class Pairs>
inline void arrange_key_pairs(const Attention& t, const AttentionItem& item, const PairScratch& s) {
  const size_t stride = t.kv_stride;
  const float* k = t.k + item.first_key * stride + static_cast<size_t>(item.head) * t.size;
  measure_channels(k, stride, item.keys, t.size, s.padded_size, s.key_steps, s.levels);
  int32_t* to = s.keys;
  for (int first = 0; first < s.padded_keys; first += kWidth) {
    for (int c = 0; c < s.padded_size; c += kPairBlock) {
      const auto level = [&](int key, int at) {
        return to_ints(load_left(k + key * stride + at, t.size - at) * load(s.levels + at));
      };
      Floats pairs[kWidth];
      for (int i = 0; i < kWidth; i++) {
        const int key = first + i;
        const bool is_there = key < item.keys;
        pairs[i] = is_there ? Pairs::as_floats(Pairs::join(level(key, c), level(key, c + kWidth))) : all(0.0f);
      }
      transpose(pairs);
      for (int i = 0; i < kWidth; i++, to += kWidth) store(reinterpret_cast<float*>(to), pairs[i]);
    }
  }
}

template <class Pairs>
inline void arrange_value_pairs(const Attention& t, const AttentionItem& item, const PairScratch& s) {
  const size_t stride = t.kv_stride;
  const float* v = t.v + item.first_key * stride + static_cast<size_t>(item.head) * t.size;
  measure_channels(v, stride, item.keys, t.size, s.padded_size, s.value_steps, s.levels);
  int32_t* to = s.values;
  for (int c = 0; c < t.size; c += kWidth) {
    const Floats levels = load(s.levels + c);
    const auto level = [&](int key) {
      return key < item.keys ? to_ints(load_left(v + key * stride + c, t.size - c) * levels) : Pairs::all(0);
    };
    for (int first = 0; first < s.padded_keys; first += kPairBlock) {
      for (int i = first; i < first + kWidth; i++, to += kWidth) {
        Pairs::store(to, Pairs::join(level(i), level(i + kWidth)));
      }
    }
  }
}

// R rows of pairs times V groups of kWidth columns, from `column` on: finish(row, column, sums).
template <class Pairs, int R, int V, class Finish>
inline void multiply_groups(const int32_t* a, size_t a_stride, const int32_t* b, size_t b_group, int depth, int column,
                            const Finish& finish) {
  constexpr int kUnrolled = 4;  // depths are multiples of kWidth
  Ints s[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) s[r][i] = Pairs::all(0);
  }
  for (int k = 0; k < depth; k += kUnrolled) {
#pragma GCC unroll 4
    for (int d = k; d < k + kUnrolled; d++, b += kWidth) {
      Ints columns[V];
#pragma GCC unroll 8
      for (int i = 0; i < V; i++) columns[i] = load_ints(b + i * b_group);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const Ints pair = Pairs::all(a[r * a_stride + d]);
#pragma GCC unroll 8
        for (int i = 0; i < V; i++) s[r][i] = Pairs::dot(s[r][i], pair, columns[i]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) finish(r, column + i * kWidth, to_floats(s[r][i]));
  }
}

// R rows of pairs, (R, a_stride), times some groups of columns, [groups][b_group].
template <class Pairs, int R, class Finish>
inline void multiply_pairs(const int32_t* a, size_t a_stride, const int32_t* b, size_t b_group, int depth, int groups,
                           const Finish& finish) {
  int g = 0;
  for (; g + kSumVectors <= groups; g += kSumVectors) {
    multiply_groups<Pairs, R, kSumVectors>(a, a_stride, b + g * b_group, b_group, depth, g * kWidth, finish);
  }
  for (; g < groups; g++) {
    multiply_groups<Pairs, R, 1>(a, a_stride, b + g * b_group, b_group, depth, g * kWidth, finish);
  }
}

// A query as levels; returns their step.
template <class Pairs>
inline float round_query(const float* q, int size, const PairScratch& s, int32_t* to) {
  const auto number = [&](int c) { return load_left(q + c, size - c) * load(s.key_steps + c); };
  Floats most = all(1e-30f), total = most;
  for (int c = 0; c < size; c += kWidth) {
    most = max(most, absolute(number(c)));
    total = total + absolute(number(c));
  }
  const float unit = levels_of_unit(largest(most), sum(total));
  const auto level = [&](int c) { return to_ints(number(c) * all(unit)); };
  for (int c = 0; c < s.padded_size; c += kPairBlock, to += kWidth) {
    Pairs::store(to, Pairs::join(level(c), level(c + kWidth)));
  }
  return 1 / unit;
}

// What is added to the weight of each key before it is rounded (dithering, Roberts 1962), so that thousands of weights
// of less than half a level do not all become nothing: their sum stays true. From -1/2 to 1/2, evenly, in the order of
// van der Corput, so that keys that follow one another get different ones.
struct Thresholds {
  static constexpr int kCount = 128;
  float of_key[kCount];
  constexpr Thresholds() : of_key() {
    for (int key = 0; key < kCount; key++) {
      float step = 0.5f;
      of_key[key] = 0.5f / kCount - 0.5f;
      for (int bits = key; bits; bits >>= 1, step /= 2) of_key[key] += bits % 2 * step;
    }
  }
};
alignas(64) constexpr Thresholds kThresholds;

// Weights of keys from `first` on, and their sum -> levels in the same place; returns the step with which the levels
// add up to 1. The largest weight is 1, or a little more if scores are so large that rounding them shows.
template <class Pairs>
inline float round_weights(float* weights, int first, int count, float sum_of_weights) {
  const float unit = levels_of_unit(1, sum_of_weights);
  const auto level = [&](int j) {
    if (j >= count) return Pairs::all(0);
    const Floats threshold = load(kThresholds.of_key + (first + j) % Thresholds::kCount);
    return to_ints(min(fma(load(weights + j), all(unit), threshold), all(kRowLimit)));
  };
  const Ints ones = Pairs::all(0x00010001);
  Ints total = Pairs::all(0);
  int32_t* to = reinterpret_cast<int32_t*>(weights);
  for (int j = 0; j < count; j += kPairBlock, to += kWidth) {
    const Ints pairs = Pairs::join(level(j), level(j + kWidth));
    total = Pairs::dot(total, pairs, ones);
    Pairs::store(to, pairs);
  }
  return 1 / sum(to_floats(total));
}

template <class Pairs, int R>
inline void attend_pairs(const Attention& t, const AttentionItem& item, const PairScratch& s, int row) {
  const size_t column = static_cast<size_t>(item.head) * t.size, stride = s.padded_keys;
  KeyRange read = keys_of(t, item, row, R);
  read.first -= read.first % kPairBlock;
  const int keys = read.last - read.first, padded = round_up(keys, kWidth);
  float steps[R], totals[R];
  for (int r = 0; r < R; r++) {
    const float* q = t.q + static_cast<size_t>(row + r) * t.q_stride + column;
    steps[r] = round_query<Pairs>(q, t.size, s, s.queries + r * s.channel_pairs);
  }
  const int32_t* read_keys = s.keys + static_cast<size_t>(read.first) * s.channel_pairs;
  multiply_pairs<Pairs, R>(s.queries, s.channel_pairs, read_keys, static_cast<size_t>(kWidth) * s.channel_pairs,
                           s.channel_pairs, padded / kWidth,
                           [&](int r, int c, Floats sums) { store(s.scores + r * stride + c, sums * all(steps[r])); });
  soften(t, item.head, {s.scores, stride, R, t.places + row, read.first, keys, padded}, totals);
  for (int r = 0; r < R; r++) {
    steps[r] = round_weights<Pairs>(s.scores + r * stride, read.first, padded, totals[r]);
  }
  const int32_t* read_values = s.values + static_cast<size_t>(read.first / 2) * kWidth;
  multiply_pairs<Pairs, R>(reinterpret_cast<const int32_t*>(s.scores), stride, read_values,
                           static_cast<size_t>(kWidth) * s.key_pairs, round_up(padded, kPairBlock) / 2,
                           round_up(t.size, kWidth) / kWidth, [&](int r, int c, Floats sums) {
                             float* out = t.out + static_cast<size_t>(row + r) * t.out_stride + column + c;
                             const int count = t.size - c < kWidth ? t.size - c : kWidth;
                             store_some(out, sums * (load(s.value_steps + c) * all(steps[r])), count);
                           });
}

template <class Pairs>
void int16_attention(const Attention& t, const AttentionItem& item, float* scratch) {
  if (!is_worth_pairs(t, item.keys)) return attention(t, item, scratch);
  const PairScratch s(scratch, item.keys, t.size);
  arrange_key_pairs<Pairs>(t, item, s);
  arrange_value_pairs<Pairs>(t, item, s);
  for_queries<kPairRows>(item,
                         [&](auto count, int row) { attend_pairs<Pairs, decltype(count)::value>(t, item, s, row); });
}

size_t int16_attention_scratch(int longest, int size) {
  const size_t plain = attention_scratch(longest, size), pairs = PairScratch::floats(longest, size);
  return plain > pairs ? plain : pairs;
}

}  // namespace
}  // namespace bertedge
