// What follows a product, and the float product. On top of a simd_*.h file.
#pragma once
#include "rows.h"

namespace bertedge {
namespace {

constexpr int kPanelVectors = kPanel / kWidth;

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

// bias is in v already: activation, addend, store
template <Activation A>
inline void write_result(const Result& result, const Floats (&v)[kPanelVectors]) {
  const Product& p = *result.product;
  const int columns = result.columns();
  float* out = p.out + static_cast<size_t>(result.row) * p.out_stride + result.column();
  const float* addend = p.addend ? p.addend + static_cast<size_t>(result.row) * p.addend_stride + result.column() : nullptr;
  for (int i = 0; i < kPanelVectors; i++) {
    const int count = columns - i * kWidth < kWidth ? columns - i * kWidth : kWidth;
    if (count <= 0) return;
    Floats y = activated<A>(v[i]);
    if (addend) y = y + load_some(addend + i * kWidth, count);
    store_some(out + i * kWidth, y, count);
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
  const size_t first = static_cast<size_t>(result.panel) * kPanel;
  const float row_scale = p.levels.scale[result.row];
  const Floats scale = all(row_scale), rest_scale = all(row_scale / kRestSteps), offset = all(p.levels.offset[result.row]);
  Floats v[kPanelVectors];
  for (int i = 0; i < kPanelVectors; i++) {
    const size_t at = first + i * kWidth;
    Floats sum = to_floats(load_ints(sums.levels + i * kWidth)) * scale;
    if (sums.rest) sum = fma(to_floats(load_ints(sums.rest + i * kWidth)), rest_scale, sum);
    v[i] = fma(sum, load(w.scale + at), fma(offset, load(w.sums + at), load(w.bias + at)));
    if (sums.outliers) v[i] = v[i] + load(sums.outliers + i * kWidth);
  }
  write_result<A>(result, v);
}

// R rows times one panel of float weights.
template <Activation A, int R>
inline void float_rows(const Product& p, int row, int panel) {
  const PackedWeights& w = *p.weights;
  const float* x = p.values + static_cast<size_t>(row) * p.value_stride;
  const float* values = w.values + float_panel_size(w.inputs) * panel;
  Floats v[R][kPanelVectors];
  for (int r = 0; r < R; r++) {
    for (int i = 0; i < kPanelVectors; i++) v[r][i] = all(0.0f);
  }
  for (int k = 0; k < w.inputs; k++, values += kPanel) {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Floats a = all(x[static_cast<size_t>(r) * p.value_stride + k]);
#pragma GCC unroll 8
      for (int i = 0; i < kPanelVectors; i++) v[r][i] = fma(a, load(values + i * kWidth), v[r][i]);
    }
  }
  for (int r = 0; r < R; r++) {
    for (int i = 0; i < kPanelVectors; i++) {
      v[r][i] = v[r][i] + load(w.bias + static_cast<size_t>(panel) * kPanel + i * kWidth);
    }
    write_result<A>({&p, row + r, panel}, v[r]);
  }
}

// Calls work(std::integral_constant<int, R>) for R = rows, from 1 to kMost.
template <int kMost, class Work>
inline void with_rows(int rows, Work&& work) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return with_rows<kMost - 1>(rows, work);
  }
  work(std::integral_constant<int, kMost>());
}

void float_product(const Product& product, Claim& claim) {
  with_activation(product.activation, [&](auto which) {
    for (int item; (item = claim.next()) >= 0;) {
      const ItemRows part = item_rows(product, item);
      for (int row = part.begin; row < part.end; row += kFloatRows) {
        const int rows = part.end - row < kFloatRows ? part.end - row : kFloatRows;
        with_rows<kFloatRows>(rows, [&](auto count) {
          float_rows<decltype(which)::value, decltype(count)::value>(product, row, product.first_panel + part.panel);
        });
      }
    }
  });
}

}  // namespace
}  // namespace bertedge
