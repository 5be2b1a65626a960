// What each instruction set must provide: a table of functions. Every function computes a row the same way whatever the
// other rows are, and however the work is split over threads.
#pragma once
#include <cstddef>
#include <cstdint>

#include "claim.h"

namespace bertedge {

enum class Activation : int32_t { kIdentity, kGelu, kGeluTanh, kRelu, kSilu, kTanh };

// What happens to a layer's input before it is multiplied: (x - shifts) * reciprocals.
struct Preparation {
  const float* shifts = nullptr;       // (inputs), or null
  const float* reciprocals = nullptr;  // (inputs), or null
  const float* factors = nullptr;      // int8 layers: the reciprocals, but 0 for outliers; null if all are 1
  const int32_t* outliers = nullptr;   // inputs that are multiplied in float, ascending
  int outlier_count = 0;
};

// Rows as int8, for a product: x ~ scale * level + offset, with levels from 0 to 255. Kernels with signed levels store
// level - 128. A second term holds what the first one rounds away, with the scale `scale / 254`: levels from 0 to 254,
// where 127 is nothing.
struct QuantizedRows {
  uint8_t* levels = nullptr;       // see level_place
  uint8_t* rest_levels = nullptr;  // the second term, or null
  float* scale = nullptr;          // (rows)
  float* offset = nullptr;         // (rows)
  float* outliers = nullptr;       // (rows, outlier_count)
};

constexpr float kRestSteps = 254;
constexpr int kRestZero = 127;

// Weights in panels of 32 outputs; the vectors are padded with zeros to whole panels.
struct PackedWeights {
  const int8_t* levels = nullptr;  // int8 panels, or null
  const float* values = nullptr;   // float panels, or null
  const float* scale = nullptr;    // int8: of each output
  const float* sums = nullptr;     // int8: scale * sum of the output's weights
  const float* bias = nullptr;
  const float* outlier_weight = nullptr;  // (outlier_count, padded outputs)
  int inputs = 0, outputs = 0;            // not padded
};

// out = activation(x W + bias) + addend, for some rows and panels.
struct Product {
  const PackedWeights* weights = nullptr;
  int first_panel = 0, panels = 0;
  int rows = 0;
  int row_parts = 1;              // items are panels times parts of the rows; see item_rows
  QuantizedRows levels;           // int8 weights
  const float* values = nullptr;  // float weights: (rows, value_stride)
  int value_stride = 0;
  int outlier_count = 0;
  Activation activation = Activation::kIdentity;
  const float* addend = nullptr;  // (rows, addend_stride), or null
  int addend_stride = 0;
  float* out = nullptr;  // (rows, out_stride); column 0 is the first output of first_panel
  int out_stride = 0;
  int out_columns = 0;  // columns from here on are not written
};

// Rows [begin, end) and the panel of an item; parts start at whole groups of rows.
struct ItemRows {
  int panel, begin, end;
};
static inline ItemRows item_rows(const Product& product, int item) {
  const int groups = (product.rows + 15) / 16, part = item / product.panels;
  const int begin = static_cast<int>(static_cast<int64_t>(groups) * part / product.row_parts) * 16;
  const int end = static_cast<int>(static_cast<int64_t>(groups) * (part + 1) / product.row_parts) * 16;
  return {item % product.panels, begin, end < product.rows ? end : product.rows};
}

// Weights as a bundle stores them: weight of input i and output o at i * input_stride + o * output_stride.
template <class T>
struct WeightView {
  const T* data;
  size_t input_stride, output_stride;
  int inputs, outputs;
};

// softmax(q k' * scale + bias) v for one head of one text.
struct Attention {
  const float* q = nullptr;  // (query rows, q_stride), at column head * size
  int q_stride = 0;
  const float* k = nullptr;  // (key rows, kv_stride)
  const float* v = nullptr;
  int kv_stride = 0;
  int size = 0;  // of a head
  float scale = 0;
  const int32_t* places = nullptr;  // of each query row: its place in its text
  int reach = 0;                    // keys farther away are not read; 0: all are read
  bool coarse = false;              // q, k and v come from int8 products: 13 bits and a sign are enough
  const float* bias = nullptr;      // (heads, 2 * bias_reach + 1), by place of key - place of query; or null
  int bias_reach = 0;
  float* out = nullptr;  // (query rows, out_stride), at column head * size
  int out_stride = 0;
};
struct AttentionItem {
  int head;
  int first_key, keys;  // rows of the text
  int first_query, queries;
};

struct Kernels {
  const char* name;
  // Before and after a thread computes: AMX configures its tiles.
  void (*begin)();
  void (*end)();
  // One panel of int8 weights, as int8_product reads it; what is missing to a whole panel is zero.
  void (*pack)(const WeightView<int8_t>& weight, int panel, int8_t* to);
  // Multiply, panel after panel, as claimed.
  void (*int8_product)(const Product& product, Claim& claim);
  void (*float_product)(const Product& product, Claim& claim);
  // to += bytes * scale * factors; without factors, bytes * scale
  void (*add_bytes)(const int8_t* bytes, float scale, const float* factors, int count, float* to);
  // A row's layer norm (Ba et al. 2016, equation 4). x and out may be the same.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int channels, float epsilon, float* out);
  // A row, prepared for a layer with float weights.
  void (*prepare)(const float* x, const Preparation& preparation, int inputs, float* out);
  // A row, prepared and as int8. Outliers count as zeros in it.
  void (*quantize)(const float* x, const Preparation& preparation, int inputs, const QuantizedRows& to, int row);
  // out[i] = activation(x[i]) * x[gate + i], or without a gate activation(x[i])
  void (*activate)(const float* x, int width, int gate, Activation activation, float* out);
  // Rotate the pairs (i, i + size / 2) of each head by the angles whose cosines and sines are given, (size / 2) each.
  void (*rotate)(float* x, int heads, int size, const float* cosine, const float* sine);
  void (*attention)(const Attention& attention, const AttentionItem& item, float* scratch);
  // Floats of scratch that attention needs.
  size_t (*attention_scratch)(int longest, int size);
};

}  // namespace bertedge
