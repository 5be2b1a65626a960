// What follows a product, and the float product. On top of a simd_*.h file.
#pragma once
#include "float_block.h"
#include "rows.h"

namespace bertedge {
namespace {

constexpr int kPanelVectors = kPanel / kWidth;
// Vectors of a row that are finished at a time: they share constants, and hide each other's latency.
constexpr int kFinished = kPanelVectors < 4 ? kPanelVectors : 4;

// The place of a row's 32 results.
struct Result {
  const Product* product;
  int row, panel;

  size_t column() const { return static_cast<size_t>(panel - product->first_panel) * kPanel; }
  int columns() const {
    const int left = product->out_columns - static_cast<int>(column());
    return left < kPanel ? left : kPanel;
  }
};

// Columns from `first` of the panel on; bias is in v already: activation, addend, store.
template <Activation A, int N>
inline void write_result(const Result& result, int first, const Floats (&v)[N]) {
  const Product& p = *result.product;
  const size_t column = result.column() + first;
  float* out = p.out + static_cast<size_t>(result.row) * p.out_stride + column;
  const float* addend = p.addend ? p.addend + static_cast<size_t>(result.row) * p.addend_stride + column : nullptr;
  const int columns = result.columns() - first;
  Floats y[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) y[i] = activated<A>(v[i]);
  if (columns >= N * kWidth) {
    if (addend) {
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) y[i] = y[i] + load(addend + i * kWidth);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) store(out + i * kWidth, y[i]);
    return;
  }
  for (int i = 0; i * kWidth < columns; i++) {
    const int count = columns - i * kWidth < kWidth ? columns - i * kWidth : kWidth;
    store_some(out + i * kWidth, addend ? y[i] + load_some(addend + i * kWidth, count) : y[i], count);
  }
}

// The float products of R rows' outliers with a panel: sums is [R][32].
template <int R>
inline void outlier_sums(const Product& p, int row, int panel, float* sums) {
  const float* x = p.levels.outliers + static_cast<size_t>(row) * p.outlier_count;
  const size_t stride = static_cast<size_t>(round_up(p.weights->outputs, kPanel));
  for (int i = 0; i < kPanelVectors; i++) {
    const float* w = p.weights->outlier_weight + static_cast<size_t>(panel) * kPanel + i * kWidth;
    Floats v[R];
    for (int r = 0; r < R; r++) v[r] = all(0.0f);
    for (int o = 0; o < p.outlier_count; o++, w += stride) {
      const Floats weight = load(w);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) v[r] = fma(all(x[static_cast<size_t>(r) * p.outlier_count + o]), weight, v[r]);
    }
    for (int r = 0; r < R; r++) store(sums + r * kPanel + i * kWidth, v[r]);
  }
}

// A row's sums of products with 32 outputs. rest: those of the second term, or null; outliers: float sums, or null.
struct RowSums {
  const int32_t* levels;
  const int32_t* rest;
  const float* outliers;
};

template <Activation A>
inline void finish_row(const Result& result, const RowSums& sums) {
  const Product& p = *result.product;
  const PackedWeights& w = *p.weights;
  const float row_scale = p.levels.scale[result.row];
  const Floats scale = all(row_scale), rest_scale = all(row_scale / kRestSteps), offset = all(p.levels.offset[result.row]);
  for (int first = 0; first < kPanel; first += kFinished * kWidth) {
    Floats v[kFinished];
#pragma GCC unroll 8
    for (int i = 0; i < kFinished; i++) {
      const int column = first + i * kWidth;
      const size_t at = static_cast<size_t>(result.panel) * kPanel + column;
      Floats sum = to_floats(load_ints(sums.levels + column)) * scale;
      if (sums.rest) sum = fma(to_floats(load_ints(sums.rest + column)), rest_scale, sum);
      v[i] = fma(sum, load(w.scale + at), fma(offset, load(w.sums + at), load(w.bias + at)));
      if (sums.outliers) v[i] = v[i] + load(sums.outliers + column);
    }
    write_result<A>(result, first, v);
  }
}

// R rows times one panel of float weights.
template <Activation A, int R>
inline void float_rows(const Product& p, int row, int panel) {
  const PackedWeights& w = *p.weights;
  const float* x = p.values + static_cast<size_t>(row) * p.value_stride;
  const float* values = w.values + float_panel_size(w.inputs) * panel;
  const float* bias = w.bias + static_cast<size_t>(panel) * kPanel;
  for (int first = 0; first < kPanel; first += kSumVectors * kWidth) {
    Floats v[R][kSumVectors];
    float_block(x, static_cast<size_t>(p.value_stride), values + first, kPanel, w.inputs, v);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kSumVectors; i++) v[r][i] = v[r][i] + load(bias + first + i * kWidth);
      write_result<A>({&p, row + r, panel}, first, v[r]);
    }
  }
}

void float_product(const Product& product, Claim& claim) {
  with_activation(product.activation, [&](auto which) {
    for (int item; (item = claim.next()) >= 0;) {
      const ItemRows part = item_rows(product, item);
      for (int row = part.begin; row < part.end; row += kSumRows) {
        const int rows = part.end - row < kSumRows ? part.end - row : kSumRows;
        with_rows<kSumRows>(rows, [&](auto count) {
          float_rows<decltype(which)::value, decltype(count)::value>(product, row, product.first_panel + part.panel);
        });
      }
    }
  });
}

}  // namespace
}  // namespace bertedge
