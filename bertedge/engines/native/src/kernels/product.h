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

// Where some columns of rows are written, and what is added to them.
struct Columns {
  float* out;
  const float* addend;  // or null
  size_t out_stride, addend_stride;
  int count;  // columns from here on are not written

  // From column `first` of the panel on; `out` and `addend` are those of the result's row.
  Columns(const Result& result, int first) {
    const Product& p = *result.product;
    const size_t column = result.column() + first;
    out_stride = static_cast<size_t>(p.out_stride);
    addend_stride = static_cast<size_t>(p.addend_stride);
    out = p.out + result.row * out_stride + column;
    addend = p.addend ? p.addend + result.row * addend_stride + column : nullptr;
    count = result.columns() - first;
  }
};

// Row `row` of the columns; bias is in v already: activation, addend, store.
template <Activation A, int N>
inline void write_result(const Columns& columns, int row, const Floats (&v)[N]) {
  float* out = columns.out + row * columns.out_stride;
  const float* addend = columns.addend ? columns.addend + row * columns.addend_stride : nullptr;
  Floats y[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) y[i] = activated<A>(v[i]);
  if (columns.count >= N * kWidth) {
    if (addend) {
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) y[i] = y[i] + load(addend + i * kWidth);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) store(out + i * kWidth, y[i]);
    return;
  }
  for (int i = 0; i * kWidth < columns.count; i++) {
    const int count = columns.count - i * kWidth < kWidth ? columns.count - i * kWidth : kWidth;
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

// Rows' sums of products with 32 outputs. rest: those of the second term, or null; outliers: float sums, or null.
struct RowSums {
  const int32_t* levels;
  const int32_t* rest;
  const float* outliers;
};

// The results of some rows, one after another from `result` on. What belongs to the weights is loaded once for all.
template <Activation A>
inline void finish_rows(const Result& result, int rows, const RowSums& sums) {
  const Product& p = *result.product;
  const PackedWeights& w = *p.weights;
  const float *row_scales = p.levels.scale + result.row, *row_offsets = p.levels.offset + result.row;
  for (int first = 0; first < kPanel; first += kFinished * kWidth) {
    const size_t at = static_cast<size_t>(result.panel) * kPanel + first;
    Floats weight_scale[kFinished], weight_sums[kFinished], bias[kFinished];
#pragma GCC unroll 8
    for (int i = 0; i < kFinished; i++) {
      weight_scale[i] = load(w.scale + at + i * kWidth);
      weight_sums[i] = load(w.sums + at + i * kWidth);
      bias[i] = load(w.bias + at + i * kWidth);
    }
    const Columns columns(result, first);
    for (int r = 0; r < rows; r++) {
      const float row_scale = row_scales[r];
      const Floats scale = all(row_scale), offset = all(row_offsets[r]);
      const int column = r * kPanel + first;
      Floats v[kFinished];
#pragma GCC unroll 8
      for (int i = 0; i < kFinished; i++) {
        Floats sum = to_floats(load_ints(sums.levels + column + i * kWidth)) * scale;
        if (sums.rest) {
          sum = fma(to_floats(load_ints(sums.rest + column + i * kWidth)), all(row_scale / kRestSteps), sum);
        }
        v[i] = fma(sum, weight_scale[i], fma(offset, weight_sums[i], bias[i]));
      }
      if (sums.outliers) {
#pragma GCC unroll 8
        for (int i = 0; i < kFinished; i++) v[i] = v[i] + load(sums.outliers + column + i * kWidth);
      }
      write_result<A>(columns, r, v);
    }
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
    const Columns columns({&p, row, panel}, first);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int i = 0; i < kSumVectors; i++) v[r][i] = v[r][i] + load(bias + first + i * kWidth);
      write_result<A>(columns, r, v[r]);
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
