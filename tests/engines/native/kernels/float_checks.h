// Float products and attention against double precision.
#pragma once
#include "checks.h"

namespace checks {

// Float panels are [inputs][32] for every kernel.
inline Array<float> float_panels(const Array<float>& weight, int inputs, int outputs) {
  Array<float> to(float_panel_size(inputs) * panels_of(outputs));
  for (int o = 0; o < outputs; o++) {
    for (int i = 0; i < inputs; i++) {
      to[float_panel_size(inputs) * (o / kPanel) + static_cast<size_t>(i) * kPanel + o % kPanel] =
          weight[static_cast<size_t>(i) * outputs + o];
    }
  }
  return to;
}

inline void check_float_case(Checker& check, int rows, int inputs, int outputs, Activation activation, Random& random) {
  check.place(text("float product of rows, inputs, outputs, activation",
                   {rows, inputs, outputs, static_cast<int>(activation)}));
  const int value_stride = inputs + 2, stride = outputs + 3;
  const Array<float> x = random.reals(static_cast<size_t>(rows) * value_stride);
  const Array<float> weight = random.reals(static_cast<size_t>(inputs) * outputs);
  const Array<float> panels = float_panels(weight, inputs, outputs);
  const Array<float> addend = random.reals(static_cast<size_t>(rows) * outputs);
  Array<float> bias(static_cast<size_t>(panels_of(outputs)) * kPanel);
  for (int o = 0; o < outputs; o++) bias[o] = random.real(-1, 1);
  PackedWeights weights;
  weights.values = panels.data();
  weights.bias = bias.data();
  weights.inputs = inputs;
  weights.outputs = outputs;
  Array<float> out(static_cast<size_t>(rows) * stride, -7.0f);
  Product product;
  product.weights = &weights;
  product.panels = panels_of(outputs);
  product.rows = rows;
  product.values = x.data();
  product.value_stride = value_stride;
  product.activation = activation;
  product.addend = addend.data();
  product.addend_stride = outputs;
  product.out = out.data();
  product.out_stride = stride;
  product.out_columns = outputs;
  run_items(check.kernels.float_product, product);
  for (int row = 0; row < rows; row++) {
    for (int o = 0; o < stride; o++) {
      const size_t at = static_cast<size_t>(row) * stride + o;
      if (o >= outputs) {
        check.equal(out[at], -7.0, at);
        continue;
      }
      double y = bias[o], size = 1;
      for (int i = 0; i < inputs; i++) {
        const double term = static_cast<double>(x[static_cast<size_t>(row) * value_stride + i]) *
                            weight[static_cast<size_t>(i) * outputs + o];
        y += term;
        size += std::fabs(term);
      }
      const double expected = activated(activation, y) + addend[static_cast<size_t>(row) * outputs + o];
      check.near(out[at], expected, activation_error(y) + 1e-6 * size, at);
    }
  }
  for (int parts = 2; parts <= 3; parts++) {
    Array<float> again(out.size(), -7.0f);
    product.out = again.data();
    product.row_parts = parts;
    run_items(check.kernels.float_product, product, parts);
    check.that(again == out, "a split of the rows changes nothing");
  }
  Array<float> last(stride, -7.0f);
  product.values = x.data() + static_cast<size_t>(rows - 1) * value_stride;
  product.addend = addend.data() + static_cast<size_t>(rows - 1) * outputs;
  product.out = last.data();
  product.rows = product.row_parts = 1;
  run_items(check.kernels.float_product, product);
  const float* same = out.data() + static_cast<size_t>(rows - 1) * stride;
  check.that(std::memcmp(last.data(), same, stride * sizeof(float)) == 0, "a row alone gives the same");
}

inline void check_float_product(Checker& check) {
  Random random(3);
  for (int rows = 1; rows <= 26; rows++) {
    const int inputs = random.whole(1, 200), outputs = random.whole(1, 100);
    check_float_case(check, rows, inputs, outputs, kActivations[rows % 6], random);
  }
  check_float_case(check, 5, 4096, 33, Activation::kIdentity, random);
}

struct AttentionCase {
  int size, keys, queries, reach, bias_reach;  // bias_reach 0: no bias
  float spread;                                // of the queries
};

// One head of three, of a text that starts at row 2.
struct AttentionData {
  static constexpr int kHeads = 3, kHead = 1, kFirst = 2;
  const AttentionCase& c;
  int stride;
  Array<float> q, kv, bias;
  Array<int32_t> places;
  Attention attention;

  AttentionData(const AttentionCase& c, Random& random)
      : c(c),
        stride(kHeads * c.size + 1),
        q(random.reals(static_cast<size_t>(kFirst + c.queries) * stride, -c.spread, c.spread)),
        kv(random.reals(static_cast<size_t>(kFirst + c.keys) * 2 * stride)),
        bias(random.reals(static_cast<size_t>(kHeads) * (2 * c.bias_reach + 1))),
        places(kFirst + c.queries) {
    for (int i = 0; i < c.queries; i++) places[kFirst + i] = random.whole(0, c.keys - 1);
    attention.q = q.data();
    attention.q_stride = stride;
    attention.k = kv.data();
    attention.v = kv.data() + stride;
    attention.kv_stride = 2 * stride;
    attention.size = c.size;
    attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.size)));
    attention.places = places.data();
    attention.reach = c.reach;
    attention.bias = c.bias_reach ? bias.data() : nullptr;
    attention.bias_reach = c.bias_reach;
    attention.out_stride = stride;
  }

  float* key(int j) { return kv.data() + static_cast<size_t>(kFirst + j) * 2 * stride + kHead * c.size; }
  float* value(int j) { return key(j) + stride; }
  float* query(int i) { return q.data() + static_cast<size_t>(kFirst + i) * stride + kHead * c.size; }

  std::vector<double> expected(int query_index) {
    std::vector<double> weights(c.keys), out(c.size);
    const int place = places[kFirst + query_index];
    double high = -1e300, total = 0;
    for (int j = 0; j < c.keys; j++) {
      double score = 0;
      for (int i = 0; i < c.size; i++) score += static_cast<double>(query(query_index)[i]) * key(j)[i];
      score /= std::sqrt(static_cast<double>(c.size));
      const int far = std::max(-c.bias_reach, std::min(c.bias_reach, j - place));
      if (c.bias_reach) score += bias[kHead * (2 * c.bias_reach + 1) + c.bias_reach + far];
      if (c.reach && std::abs(j - place) > c.reach) score = -1e300;
      weights[j] = score;
      high = std::max(high, score);
    }
    for (double& weight : weights) total += weight = std::exp(weight - high);
    for (int j = 0; j < c.keys; j++) {
      for (int i = 0; i < c.size; i++) out[i] += weights[j] / total * value(j)[i];
    }
    return out;
  }
};

// Of values up to 1 and queries up to 1. What comes from int8 products may be rounded to 16 bits with AMX, and with
// VNNI to levels of 1 / 8191.
inline double attention_error(const Kernels& kernels, bool coarse) {
  const std::string name = kernels.name;
  if (coarse && name == "amx") return 1e-5;
  return coarse && (name == "avx512-vnni" || name == "avx-vnni") ? 1e-4 : 2e-6;
}

inline void check_attention_case(Checker& check, const AttentionCase& c, bool coarse, Random& random) {
  check.place(text("attention of head size, keys, queries, reach, bias, coarse",
                   {c.size, c.keys, c.queries, c.reach, c.bias_reach, coarse}));
  AttentionData data(c, random);
  data.attention.coarse = coarse;
  const int first = AttentionData::kFirst, head = AttentionData::kHead;
  Array<float> scratch(check.kernels.attention_scratch(c.keys + 5, c.size), NAN);
  Array<float> out(static_cast<size_t>(first + c.queries) * data.stride, -7.0f), again(out);
  data.attention.out = out.data();
  check.kernels.attention(data.attention, {head, first, c.keys, first, c.queries}, scratch.data());
  for (int row = 0; row < first + c.queries; row++) {
    const std::vector<double> expected = row < first ? std::vector<double>() : data.expected(row - first);
    for (int column = 0; column < data.stride; column++) {
      const size_t at = static_cast<size_t>(row) * data.stride + column;
      const int i = column - head * c.size;
      if (row < first || i < 0 || i >= c.size) {
        check.equal(out[at], -7.0, at);  // of other heads and texts
      } else {
        check.near(out[at], expected[i], attention_error(check.kernels, coarse) * (1 + c.spread), at);
      }
    }
  }
  data.attention.out = again.data();
  for (int i = 0; i < c.queries;) {  // a few queries at a time
    const int some = std::min(random.whole(1, 5), c.queries - i);
    check.kernels.attention(data.attention, {head, first, c.keys, first + i, some}, scratch.data());
    i += some;
  }
  check.that(again == out, "a split of the queries changes nothing");
}

// Attention that may be coarse, with the numbers that are in `data`.
inline void check_outputs(Checker& check, AttentionData& data, double most) {
  const int first = AttentionData::kFirst, head = AttentionData::kHead, size = data.c.size;
  Array<float> scratch(check.kernels.attention_scratch(data.c.keys, size), NAN), out(data.q.size());
  data.attention.coarse = true;
  data.attention.out = out.data();
  check.kernels.attention(data.attention, {head, first, data.c.keys, first, data.c.queries}, scratch.data());
  for (int query = 0; query < data.c.queries; query++) {
    const std::vector<double> expected = data.expected(query);
    const size_t at = static_cast<size_t>(first + query) * data.stride + head * size;
    for (int i = 0; i < size; i++) check.near(out[at + i], expected[i], most, at + i);
  }
}

// All products as large as rounding allows, with the same sign: a sum that overflows would be far off. The first query
// reads all keys alike; the second, of large scores, the last two; the third has one channel only.
inline void check_largest_sums(Checker& check, int size, int keys, Random& random) {
  const AttentionCase c = {size, keys, 3, 0, 0, 0};
  AttentionData data(c, random);
  const float nearly = 1 - static_cast<float>(std::log(2.0) / (50 * std::sqrt(size)));
  for (int i = 0; i < size; i++) {
    for (int j = 0; j < keys; j++) data.key(j)[i] = data.value(j)[i] = -1;
    data.key(keys - 1)[i] = 1;
    data.key(keys - 2)[i] = nearly;
    data.value(keys - 2)[i] = 1;
    data.query(0)[i] = 0;
    data.query(1)[i] = 50;
    data.query(2)[i] = i == 0 ? 900 : 0;
  }
  check.place(text("attention with large sums of head size, keys", {size, keys}));
  check_outputs(check, data, 0.05);
}

// One key has a weight of 1, and thousands have so little that most of them are less than half a level of 16 bits. But
// only these have values, so what they add up to is all that a query reads.
inline void check_small_weights(Checker& check, Random& random) {
  const AttentionCase c = {64, 8192, 1, 0, 0, 0};
  AttentionData data(c, random);
  for (int i = 0; i < c.size; i++) {
    for (int j = 0; j < c.keys; j++) data.key(j)[i] = 0, data.value(j)[i] = j == 5 ? 0.0f : 1.0f;
    data.query(0)[i] = 0;
  }
  data.key(5)[0] = 1;
  data.query(0)[0] = 11.5f * 8;
  check.place("attention with thousands of small weights");
  check_outputs(check, data, 2e-3);
}

inline void check_attention(Checker& check) {
  Random random(4);
  check_small_weights(check, random);
  for (int keys : {64, 100, 8192}) {
    for (int size : {24, 64, 128, 256}) check_largest_sums(check, size, keys, random);
  }
  for (int size : {8, 12, 16, 20, 32, 33, 64, 96, 128}) {
    for (int keys : {1, 7, 31, 32, 33, 100, 600}) {
      const int reach = random.whole(0, 2) * 4, bias_reach = random.whole(0, 2) * 16;
      const float spread = keys == 100 ? 60.0f : 2.0f;
      const AttentionCase some = {size, keys, random.whole(1, 25), reach, bias_reach, spread};
      for (bool coarse : {false, true}) check_attention_case(check, some, coarse, random);
    }
  }
}

}  // namespace checks
