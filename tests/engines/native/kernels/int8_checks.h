// int8 products against exact sums of whole numbers.
#pragma once
#include "checks.h"

namespace checks {

// How levels and weights are drawn. Two products of "small pairs" fit in 16 bits just so, of "large pairs" just not.
enum class Numbers { kRandom, kAllHigh, kEnds, kSmallPairs, kLargePairs };

struct Int8Case {
  int rows, inputs, outputs, outliers;
  bool rest, addend;
  Activation activation;
  Numbers numbers;
};

// A layer, its input as levels, and the sums that must come out.
struct Int8Layer {
  const Int8Case& c;
  int padded, blocks;
  Array<int8_t> weight, packed;
  Array<float> scale, sums, bias, outlier_weight, row_scale, row_offset, outliers, addend;
  Array<uint8_t> levels, rest_levels;
  PackedWeights packed_weights;

  Int8Layer(const Kernels& kernels, const Int8Case& c, int level_zero, Random& random)
      : c(c),
        padded(panels_of(c.outputs) * kPanel),
        blocks(blocks_of(c.inputs)),
        weight(static_cast<size_t>(c.inputs) * c.outputs),
        packed(int8_panel_bytes(c.inputs) * panels_of(c.outputs)),
        scale(padded),
        sums(padded),
        bias(padded),
        outlier_weight(static_cast<size_t>(c.outliers) * padded),
        row_scale(random.reals(c.rows, 0.01f, 1)),
        row_offset(random.reals(c.rows)),
        outliers(random.reals(static_cast<size_t>(c.rows) * c.outliers)),
        addend(random.reals(static_cast<size_t>(c.rows) * padded)),
        levels(level_bytes(c.rows, blocks)),
        rest_levels(level_bytes(c.rows, blocks)) {
    draw_weights(random);
    for (int row = 0; row < c.rows; row++) {
      for (int i = 0; i < c.inputs; i++) {
        levels[level_place(row, i, blocks)] = static_cast<uint8_t>(draw_level(random, 255) - level_zero);
        rest_levels[level_place(row, i, blocks)] = static_cast<uint8_t>(draw_level(random, 254) - level_zero);
      }
    }
    for (int o = 0; o < c.outputs; o++) {
      scale[o] = random.real(0.001f, 0.01f);
      sums[o] = random.real(-1, 1);
      bias[o] = random.real(-1, 1);
      for (int i = 0; i < c.outliers; i++) outlier_weight[static_cast<size_t>(i) * padded + o] = random.real(-1, 1);
    }
    const WeightView<int8_t> view = {weight.data(), static_cast<size_t>(c.outputs), 1, c.inputs, c.outputs};
    for (int panel = 0; panel < panels_of(c.outputs); panel++) {
      kernels.pack(view, panel, packed.data() + int8_panel_bytes(c.inputs) * panel);
    }
    packed_weights = {packed.data(),         nullptr,  scale.data(), sums.data(), bias.data(),
                      outlier_weight.data(), c.inputs, c.outputs};
  }

  void draw_weights(Random& random) {
    for (int o = 0; o < c.outputs; o++) {
      const int sign = o % 2 ? 1 : -1;
      for (int i = 0; i < c.inputs; i++) {
        int8_t& w = weight[static_cast<size_t>(i) * c.outputs + o];
        switch (c.numbers) {
          case Numbers::kRandom:
            w = static_cast<int8_t>(random.whole(-127, 127));
            break;
          case Numbers::kAllHigh:
            w = static_cast<int8_t>(127 * sign);
            break;
          case Numbers::kEnds:
            w = static_cast<int8_t>(random.whole(0, 1) ? 127 : -127);
            break;
          case Numbers::kSmallPairs:
            w = static_cast<int8_t>(64 * sign);
            break;
          case Numbers::kLargePairs:
            w = static_cast<int8_t>((64 + i % 2) * sign);
            break;
        }
      }
    }
  }
  int draw_level(Random& random, int highest) const {
    if (c.numbers == Numbers::kRandom) return random.whole(0, highest);
    if (c.numbers == Numbers::kEnds) return random.whole(0, 1) * highest;
    return highest;
  }

  // Sum over the inputs, with levels as they are stored.
  int32_t exact(const Array<uint8_t>& from, int level_zero, int row, int output) const {
    int32_t total = 0;
    for (int i = 0; i < c.inputs; i++) {
      const int stored = from[level_place(row, i, blocks)];
      const int level = level_zero ? static_cast<int8_t>(stored) : stored;
      total += level * weight[static_cast<size_t>(i) * c.outputs + output];
    }
    return total;
  }

  // The result before the activation, with the roundings of kernels.h's order.
  float before_activation(int level_zero, int row, int output) const {
    float sum = static_cast<float>(exact(levels, level_zero, row, output)) * row_scale[row];
    if (c.rest) {
      const float rest = static_cast<float>(exact(rest_levels, level_zero, row, output));
      sum = std::fmaf(rest, row_scale[row] / kRestSteps, sum);
    }
    const float y = std::fmaf(sum, scale[output], std::fmaf(row_offset[row], sums[output], bias[output]));
    float outlier_sum = 0;
    for (int i = 0; i < c.outliers; i++) {
      const float weight = outlier_weight[static_cast<size_t>(i) * padded + output];
      outlier_sum = std::fmaf(outliers[static_cast<size_t>(row) * c.outliers + i], weight, outlier_sum);
    }
    return y + outlier_sum;
  }

  Product product(float* out, int out_stride) {
    Product p;
    p.weights = &packed_weights;
    p.panels = panels_of(c.outputs);
    p.rows = c.rows;
    p.levels = {levels.data(), c.rest ? rest_levels.data() : nullptr, row_scale.data(), row_offset.data(),
                outliers.data()};
    p.outlier_count = c.outliers;
    p.activation = c.activation;
    p.addend = c.addend ? addend.data() : nullptr;
    p.addend_stride = padded;
    p.out = out;
    p.out_stride = out_stride;
    p.out_columns = c.outputs;
    return p;
  }
};

// A panel is the same whichever way the weights lie: by input, by output, or with gaps.
inline void check_packing(Checker& check) {
  Random random(5);
  for (int inputs : {1, 5, 64, 67, 256}) {
    for (int outputs : {1, 16, 31, 32, 70}) {
      check.place(text("packing of inputs, outputs", {inputs, outputs}));
      const size_t size = static_cast<size_t>(inputs) * outputs, wide = outputs, tall = inputs;
      Array<int8_t> by_input(size), by_output(size), gaps(3 * size);
      for (size_t i = 0; i < size; i++) {
        by_input[i] = static_cast<int8_t>(random.whole(-127, 127));
        by_output[i % wide * tall + i / wide] = gaps[3 * i] = by_input[i];
      }
      for (int panel = 0; panel < panels_of(outputs); panel++) {
        Array<int8_t> first(int8_panel_bytes(inputs)), second(first), third(first);
        check.kernels.pack({by_input.data(), wide, 1, inputs, outputs}, panel, first.data());
        check.kernels.pack({by_output.data(), 1, tall, inputs, outputs}, panel, second.data());
        check.kernels.pack({gaps.data(), 3 * wide, 3, inputs, outputs}, panel, third.data());
        check.that(first == second && first == third, "the order in memory does not matter");
      }
    }
  }
}

// What the kernel takes off a level before it stores it: 0, or 128.
inline int level_zero_of(const Kernels& kernels) {
  const float x[2] = {0, 255};
  Array<uint8_t> levels(level_bytes(1, 1));
  Array<float> scale(1), offset(1);
  kernels.quantize(x, {}, 2, {levels.data(), nullptr, scale.data(), offset.data(), nullptr}, 0);
  return (256 - levels[0]) % 256;
}

inline void check_int8_case(Checker& check, const Int8Case& c, Random& random) {
  const int zero = level_zero_of(check.kernels), stride = c.outputs + 3;
  Int8Layer layer(check.kernels, c, zero, random);
  check.place(text("int8 product of rows, inputs, outputs, outliers, rest, addend, activation, numbers",
                   {c.rows, c.inputs, c.outputs, c.outliers, c.rest, c.addend, static_cast<int>(c.activation),
                    static_cast<int>(c.numbers)}));
  Array<float> out(static_cast<size_t>(c.rows) * stride, -7.0f);
  run_items(check.kernels.int8_product, layer.product(out.data(), stride));
  for (int row = 0; row < c.rows; row++) {
    for (int o = 0; o < stride; o++) {
      const size_t at = static_cast<size_t>(row) * stride + o;
      if (o >= c.outputs) {
        check.equal(out[at], -7.0, at);  // columns that are not written
        continue;
      }
      const float y = layer.before_activation(zero, row, o);
      const float added = c.addend ? layer.addend[static_cast<size_t>(row) * layer.padded + o] : 0.0f;
      if (c.activation == Activation::kIdentity || c.activation == Activation::kRelu) {
        const float active = c.activation == Activation::kRelu && !(y > 0) ? 0.0f : y;
        check.equal(out[at], c.addend ? active + added : active, at);
      } else {
        check.near(out[at], activated(c.activation, y) + added, activation_error(y) + 1e-6, at);
      }
    }
  }
  // The same to the bit for any split of the work, and for some panels alone.
  for (int parts = 2; parts <= 3; parts++) {
    Array<float> again(out.size(), -7.0f);
    Product product = layer.product(again.data(), stride);
    product.row_parts = parts;
    run_items(check.kernels.int8_product, product, parts);
    check.that(again == out, "a split of the rows changes nothing");
  }
  Array<float> again(out.size(), -7.0f);
  for (int panel = 0; panel < panels_of(c.outputs); panel++) {
    Product product = layer.product(again.data() + panel * kPanel, stride);
    product.first_panel = panel;
    product.panels = 1;
    product.out_columns = c.outputs - panel * kPanel;
    if (c.addend) product.addend += panel * kPanel;
    run_items(check.kernels.int8_product, product);
  }
  check.that(again == out, "a panel alone gives the same");
}

inline void check_int8_product(Checker& check) {
  Random random(1);
  for (int inputs : {1, 3, 63, 64, 65, 130, 4096}) {
    for (Numbers numbers :
         {Numbers::kRandom, Numbers::kAllHigh, Numbers::kEnds, Numbers::kSmallPairs, Numbers::kLargePairs}) {
      const int rows = random.whole(1, inputs > 1000 ? 9 : 40), outputs = random.whole(1, inputs > 1000 ? 40 : 100);
      const bool rest = inputs % 2 == 0;
      check_int8_case(check, {rows, inputs, outputs, 0, rest, false, Activation::kIdentity, numbers}, random);
    }
  }
  for (int rows = 1; rows <= 40; rows++) {
    const Activation activation = kActivations[rows % 6];
    const bool rest = rows % 2 == 0, addend = rows % 5 < 2;
    check_int8_case(check, {rows, 70, 31 + rows % 3, rows % 4, rest, addend, activation, Numbers::kRandom}, random);
  }
}

}  // namespace checks
