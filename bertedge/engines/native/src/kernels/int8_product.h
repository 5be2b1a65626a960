// The int8 product for instruction sets that multiply rows by broadcasting their levels. A kernel file defines, before
// it includes this one:
//
//   struct Dot {
//     static constexpr int kRows = ...;  // most rows at a time
//     // Sums of R rows of a group, from `levels` on, times a panel: sums is [R][32]. Fetches ahead in each block.
//     template <int R>
//     static void multiply(const uint8_t* levels, const int8_t* panel, int blocks, int32_t* sums, Ahead& ahead);
//   };
#pragma once
#include "product.h"

namespace bertedge {
namespace {

// Fetches the next panel bit by bit, while this one is multiplied: the hardware does not know that it comes next.
class Ahead {
 public:
  Ahead(const int8_t* next, size_t bytes, int steps) : next_(reinterpret_cast<const char*>(next)), left_(bytes / 64) {
    step_ = (left_ + steps - 1) / steps;
  }
  // One of kParts of the next step. Few rows are multiplied faster than the second-level cache delivers: theirs goes to
  // the first.
  template <int kRows = kGroup, int kParts = 1>
  void fetch() {
    const size_t part = (step_ + kParts - 1) / kParts, lines = part < left_ ? part : left_;
    for (const char* end = next_ + lines * 64; next_ < end; next_ += 64) {
      __builtin_prefetch(next_, 0, kRows <= 3 ? 3 : 2);
    }
    left_ -= lines;
  }

 private:
  const char* next_;
  size_t left_, step_;
};

template <class Dot, Activation A, bool kRest>
void int8_panel(const Product& p, const ItemRows& part) {
  if (part.begin == part.end) return;  // more parts than groups of rows
  const int blocks = blocks_of(p.weights->inputs), panel = p.first_panel + part.panel;
  const size_t panel_bytes = int8_panel_bytes(p.weights->inputs);
  const int8_t* weights = p.weights->levels + panel_bytes * panel;
  alignas(64) int32_t sums[Dot::kRows * kPanel], rest_sums[Dot::kRows * kPanel];
  alignas(64) float outliers[Dot::kRows * kPanel];
  const int passes = (part.end - part.begin + Dot::kRows - 1) / Dot::kRows;
  Ahead ahead(weights + panel_bytes, panel_bytes, (passes ? passes : 1) * blocks * (kRest ? 2 : 1));
  for (int group = part.begin; group < part.end; group += kGroup) {
    const int end = group + kGroup < part.end ? group + kGroup : part.end;
    for (int row = group; row < end; row += Dot::kRows) {
      const int rows = end - row < Dot::kRows ? end - row : Dot::kRows;
      const size_t at = level_place(row, 0, blocks);
      with_rows<Dot::kRows>(rows, [&](auto count) {
        constexpr int kCount = decltype(count)::value;
        Dot::template multiply<kCount>(p.levels.levels + at, weights, blocks, sums, ahead);
        if (kRest) Dot::template multiply<kCount>(p.levels.rest_levels + at, weights, blocks, rest_sums, ahead);
        if (p.outlier_count) outlier_sums<kCount>(p, row, panel, outliers);
      });
      finish_rows<A>({&p, row, panel}, rows, {sums, kRest ? rest_sums : nullptr, p.outlier_count ? outliers : nullptr});
    }
  }
}

template <class Dot>
void int8_product(const Product& product, Claim& claim) {
  with_activation(product.activation, [&](auto which) {
    for (int item; (item = claim.next()) >= 0;) {
      const ItemRows part = item_rows(product, item);
      if (product.levels.rest_levels) {
        int8_panel<Dot, decltype(which)::value, true>(product, part);
      } else {
        int8_panel<Dot, decltype(which)::value, false>(product, part);
      }
    }
  });
}

// A weight, or zero outside of the matrix.
inline int8_t weight_at(const WeightView<int8_t>& weight, int input, int output) {
  if (input >= weight.inputs || output >= weight.outputs) return 0;
  return weight.data[input * weight.input_stride + output * weight.output_stride];
}

// Four inputs of 16 outputs that are all inside of the matrix, as [16 outputs][4 inputs].
inline void pack_inner_quad(const WeightView<int8_t>& weight, int input, int output, int8_t* to) {
  const int8_t* from = weight.data + input * weight.input_stride + output * weight.output_stride;
  if (weight.input_stride == 1) {
    for (int column = 0; column < 16; column++, from += weight.output_stride)
      __builtin_memcpy(to + column * 4, from, 4);
    return;
  }
  if (weight.output_stride != 1) {
    for (int i = 0; i < 64; i++) to[i] = from[i % 4 * weight.input_stride + i / 4 * weight.output_stride];
    return;
  }
  uint8_t rows[4][16];
  uint32_t quads[16];  // little-endian, as all CPUs with kernels are; compilers make vectors of it
  for (int i = 0; i < 4; i++) __builtin_memcpy(rows[i], from + i * weight.input_stride, 16);
  for (int column = 0; column < 16; column++) {
    quads[column] = static_cast<uint32_t>(rows[0][column]) | static_cast<uint32_t>(rows[1][column]) << 8 |
                    static_cast<uint32_t>(rows[2][column]) << 16 | static_cast<uint32_t>(rows[3][column]) << 24;
  }
  __builtin_memcpy(to, quads, 64);
}

// The order that products of four bytes read: [inputs / 64][2][16 quads of inputs][16 outputs][4 inputs].
inline void pack_quads(const WeightView<int8_t>& weight, int panel, int8_t* to) {
  for (int place = 0; place < blocks_of(weight.inputs) * 32; place++, to += 64) {
    const int input = place / 32 * kBlock + place % 16 * 4, output = panel * kPanel + place / 16 % 2 * 16;
    if (input + 4 <= weight.inputs && output + 16 <= weight.outputs) {
      pack_inner_quad(weight, input, output, to);
    } else {
      for (int i = 0; i < 64; i++) to[i] = weight_at(weight, input + i % 4, output + i / 4);
    }
  }
}

}  // namespace
}  // namespace bertedge
