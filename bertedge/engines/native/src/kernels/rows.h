// Work on single rows: layer norm, rounding to int8, activations, rotation. On top of a simd_*.h file.
#pragma once
#include "../layout.h"
#include "functions.h"

namespace bertedge {
namespace {

// work(column, load, store): whole vectors first, then the rest of the row.
template <class Work>
inline void for_columns(int columns, Work&& work) {
  int c = 0;
#pragma GCC unroll 4
  for (; c + kWidth <= columns; c += kWidth) work(c, kWidth);
  if (c < columns) work(c, columns - c);
}
inline Floats load_some(const float* p, int count) { return count == kWidth ? load(p) : load_first(p, count); }
// A vector whose lanes from `left` on are zero and not read.
inline Floats load_left(const float* p, int left) {
  return left >= kWidth ? load(p) : left > 0 ? load_first(p, left) : all(0.0f);
}
inline void store_some(float* p, Floats v, int count) {
  if (count == kWidth) return store(p, v);
  store_first(p, v, count);
}
inline Floats keep_some(Floats v, int count, Floats other) { return count == kWidth ? v : keep_first(v, count, other); }

void add_bytes(const int8_t* bytes, float scale, const float* factors, int count, float* to) {
  for_columns(count, [&](int c, int n) {
    int8_t rest[kWidth] = {};
    if (n < kWidth) __builtin_memcpy(rest, bytes + c, static_cast<size_t>(n));
    Floats v = to_floats(load_bytes(n < kWidth ? rest : bytes + c)) * all(scale);
    if (factors) v = v * load_some(factors + c, n);
    store_some(to + c, load_some(to + c, n) + v, n);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, int channels, float epsilon, float* out) {
  Floats total = all(0.0f), squares = all(0.0f);
  for_columns(channels, [&](int c, int n) { total = total + load_some(x + c, n); });
  const Floats mean = all(sum(total) / static_cast<float>(channels));
  for_columns(channels, [&](int c, int n) {
    const Floats d = keep_some(load_some(x + c, n) - mean, n, all(0.0f));
    squares = fma(d, d, squares);
  });
  const float variance = sum(squares) / static_cast<float>(channels);
  const Floats inverse = all(1.0f) / square_root(all(variance + epsilon));
  for_columns(channels, [&](int c, int n) {
    const Floats normal = (load_some(x + c, n) - mean) * inverse;
    store_some(out + c, fma(normal, load_some(weight + c, n), load_some(bias + c, n)), n);
  });
}

void prepare(const float* x, const Preparation& preparation, int inputs, float* out) {
  for_columns(inputs, [&](int c, int n) {
    Floats v = load_some(x + c, n);
    if (preparation.shifts) v = v - load_some(preparation.shifts + c, n);
    if (preparation.reciprocals) v = v * load_some(preparation.reciprocals + c, n);
    store_some(out + c, v, n);
  });
}

// The prepared outliers of a row.
inline void gather_outliers(const float* x, const Preparation& p, float* outliers) {
  for (int i = 0; i < p.outlier_count; i++) {
    const int input = p.outliers[i];
    float v = x[input];
    if (p.shifts) v -= p.shifts[input];
    outliers[i] = p.reciprocals ? v * p.reciprocals[input] : v;
  }
}

// A row whose values are prepared when they are read, so that nothing is stored in between.
template <bool kShifts, bool kFactors>
struct PreparedRow {
  const float* x;
  const Preparation* preparation;

  Floats operator()(int c, int n) const {
    Floats v = load_some(x + c, n);
    if (kShifts) v = v - load_some(preparation->shifts + c, n);
    return kFactors ? v * load_some(preparation->factors + c, n) : v;
  }
};

// The steps of a row's levels.
struct Steps {
  Floats low, minus_scale, per_step, per_rest_step;
};

// The kLevelVectors vectors of a row at `at`, of which all (kWhole) or `left` values are inside. The others have zero
// weights: they get the level of the lowest value.
template <bool kRest, bool kWhole, class Row>
inline void write_some_levels(const Row& x, int at, int left, const Steps& steps, uint8_t* levels,
                              uint8_t* rest_levels) {
  const Floats limit = all(static_cast<float>(kRestZero));
  Ints level[kLevelVectors], rest_level[kLevelVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kLevelVectors; i++, at += kWidth, left -= kWidth) {
    Floats v = steps.low;
    if (kWhole || left >= kWidth) {
      v = x(at, kWidth);
    } else if (left > 0) {
      v = keep_first(x(at, left), left, v);
    }
    const Floats above = v - steps.low;
    level[i] = to_ints(above * steps.per_step);  // at most 255, up to rounding: the steps are those of this row
    if (kRest) {
      const Floats rest = fma(to_floats(level[i]), steps.minus_scale, above) * steps.per_rest_step;
      rest_level[i] = to_ints(min(max(rest, all(0.0f) - limit), limit) + limit);
    }
  }
  store_levels(levels, level);
  if (kRest) store_levels(rest_levels, rest_level);
}

template <bool kRest, bool kWhole, class Row>
inline void write_block(const Row& x, int at, int inputs, const Steps& steps, uint8_t* levels, uint8_t* rest_levels) {
#pragma GCC unroll 4
  for (int i = 0; i < kBlock; i += kLevelVectors * kWidth) {
    write_some_levels<kRest, kWhole>(x, at + i, inputs - at - i, steps, levels + i, kRest ? rest_levels + i : nullptr);
  }
}

template <bool kRest, class Row>
void write_levels(const Row& x, int inputs, const QuantizedRows& to, int row) {
  Floats lowest = all(x(0, 1)[0]), highest = lowest;
  for_columns(inputs, [&](int c, int n) {
    const Floats v = x(c, n);
    lowest = min(lowest, keep_some(v, n, lowest));
    highest = max(highest, keep_some(v, n, highest));
  });
  // A row of equal values needs no steps; the smallest width keeps the reciprocal finite.
  const float low = smallest(lowest), width = largest(highest) - low;
  const float scale = (width > 1e-30f ? width : 1e-30f) / 255.0f, rest_scale = kRest ? scale / kRestSteps : 0.0f;
  const Steps steps = {all(low), all(0.0f - scale), all(1.0f / scale), all(kRestSteps / scale)};
  to.scale[row] = scale;
  to.offset[row] = low - kRestZero * rest_scale + kLevelZero * (scale + rest_scale);
  const int blocks = blocks_of(inputs);
  for (int at = 0; at < inputs; at += kBlock) {
    const size_t place = level_place(row, at, blocks);
    uint8_t *levels = to.levels + place, *rest_levels = kRest ? to.rest_levels + place : nullptr;
    if (at + kBlock <= inputs) {
      write_block<kRest, true>(x, at, inputs, steps, levels, rest_levels);
    } else {
      write_block<kRest, false>(x, at, inputs, steps, levels, rest_levels);
    }
  }
}

template <bool kShifts, bool kFactors>
inline void quantize_row(const float* x, const Preparation& p, int inputs, const QuantizedRows& to, int row) {
  const PreparedRow<kShifts, kFactors> prepared = {x, &p};
  if (to.rest_levels) return write_levels<true>(prepared, inputs, to, row);
  write_levels<false>(prepared, inputs, to, row);
}

void quantize(const float* x, const Preparation& p, int inputs, const QuantizedRows& to, int row) {
  if (p.outlier_count) gather_outliers(x, p, to.outliers + static_cast<size_t>(row) * p.outlier_count);
  if (p.shifts && p.factors) return quantize_row<true, true>(x, p, inputs, to, row);
  if (p.shifts) return quantize_row<true, false>(x, p, inputs, to, row);
  if (p.factors) return quantize_row<false, true>(x, p, inputs, to, row);
  quantize_row<false, false>(x, p, inputs, to, row);
}

void activate(const float* x, int width, int gate, Activation activation, float* out) {
  with_activation(activation, [&](auto which) {
    for_columns(width, [&](int c, int n) {
      const Floats v = activated<decltype(which)::value>(load_some(x + c, n));
      store_some(out + c, gate ? v * load_some(x + gate + c, n) : v, n);
    });
  });
}

void rotate(float* x, int heads, int size, const float* cosine, const float* sine) {
  const int half = size / 2;
  for (int head = 0; head < heads; head++, x += size) {
    for_columns(half, [&](int c, int n) {
      const Floats a = load_some(x + c, n), b = load_some(x + half + c, n);
      const Floats cos = load_some(cosine + c, n), sin = load_some(sine + c, n);
      store_some(x + c, fma(a, cos, all(0.0f) - b * sin), n);
      store_some(x + half + c, fma(b, cos, a * sin), n);
    });
  }
}

}  // namespace
}  // namespace bertedge
