// Work on single rows: layer norm, rounding to int8, activations, rotation.
#pragma once
#include "checks.h"

namespace checks {

inline void check_layer_norm(Checker& check, Random& random) {
  for (int channels : {1, 3, 8, 15, 16, 17, 64, 100, 257, 768}) {
    for (float centre : {0.0f, 30.0f}) {
      check.place(text("layer norm of channels, around", {channels, static_cast<int>(centre)}));
      Array<float> x = random.reals(channels, centre - 3, centre + 3);
      const Array<float> weight = random.reals(channels), bias = random.reals(channels);
      double mean = 0, variance = 0;
      for (int i = 0; i < channels; i++) mean += x[i];
      mean /= channels;
      for (int i = 0; i < channels; i++) variance += (x[i] - mean) * (x[i] - mean);
      const double inverse = 1 / std::sqrt(variance / channels + 1e-5);
      Array<float> out(channels);
      check.kernels.layer_norm(x.data(), weight.data(), bias.data(), channels, 1e-5f, out.data());
      for (int i = 0; i < channels; i++) {
        check.near(out[i], (x[i] - mean) * inverse * weight[i] + bias[i], channels == 1 ? 2e-3 : 2e-5, i);
      }
      check.kernels.layer_norm(x.data(), weight.data(), bias.data(), channels, 1e-5f, x.data());
      check.that(x == out, "in place gives the same");
    }
  }
}

// A row as int8, and the row that the levels stand for.
struct Rounded {
  int inputs, blocks, row;
  Array<uint8_t> levels, rest_levels;
  Array<float> scale, offset, outliers;

  Rounded(const Kernels& kernels, const Array<float>& x, const Preparation& preparation, bool rest, int row)
      : inputs(static_cast<int>(x.size())),
        blocks(blocks_of(inputs)),
        row(row),
        levels(level_bytes(row + 1, blocks), 77),
        rest_levels(rest ? levels.size() : 0, 77),
        scale(row + 1),
        offset(row + 1),
        outliers(static_cast<size_t>(row + 1) * preparation.outlier_count) {
    const QuantizedRows to = {levels.data(), rest ? rest_levels.data() : nullptr, scale.data(), offset.data(),
                              outliers.data()};
    kernels.quantize(x.data(), preparation, inputs, to, row);
  }

  // Level 0 is what the padding, or a row's smallest value, is stored as.
  int level(int i, int level_zero) const {
    return static_cast<uint8_t>(levels[level_place(row, i, blocks)] + level_zero);
  }
  double value(int i, bool is_signed) const {
    const uint8_t first = levels[level_place(row, i, blocks)];
    double v = static_cast<double>(scale[row]) * (is_signed ? static_cast<int8_t>(first) : first) + offset[row];
    if (rest_levels.size()) {
      const uint8_t second = rest_levels[level_place(row, i, blocks)];
      v += static_cast<double>(scale[row]) / kRestSteps * (is_signed ? static_cast<int8_t>(second) : second);
    }
    return v;
  }
};

inline int level_zero_of_rows(const Kernels& kernels) {
  Array<float> x(2);
  x[1] = 1;
  return (256 - Rounded(kernels, x, {}, false, 0).levels[0]) % 256;
}

inline void check_halves(Checker& check) {
  check.place("halves of levels are rounded to even");
  const int zero = level_zero_of_rows(check.kernels);
  Array<float> x(300);
  for (int i = 0; i < 300; i++) x[i] = static_cast<float>(i % 256) - (i % 256 > 0 && i % 256 < 255 ? 0.5f : 0.0f);
  const Rounded rounded(check.kernels, x, {}, false, 5);
  check.equal(rounded.scale[5], 1, 5);
  for (int i = 0; i < 300; i++) check.equal(rounded.level(i, zero), std::nearbyint(x[i]), i);
  for (int i = 300; i < rounded.blocks * kBlock; i++) check.equal(rounded.level(i, zero), 0, i);  // padding
}

inline void check_equal_rows(Checker& check) {
  const bool is_signed = level_zero_of_rows(check.kernels) != 0;
  for (float value : {0.0f, 1.0f, -3e-30f, 1e20f, -1e-38f}) {
    for (bool rest : {false, true}) {
      check.place(text("row of equal values, rest", {rest}));
      const Array<float> x(70, value);
      const Rounded rounded(check.kernels, x, {}, rest, 0);
      check.that(rounded.scale[0] > 0 && std::isfinite(1 / rounded.scale[0]), "the scale can be divided by");
      for (int i = 0; i < 70; i++) check.near(rounded.value(i, is_signed), value, 1e-30 + 1e-7 * std::fabs(value), i);
    }
  }
}

// Levels against the definition, for ranges from tiny to huge, any width and any row of a group.
inline void check_ranges(Checker& check, Random& random) {
  const bool is_signed = level_zero_of_rows(check.kernels) != 0;
  for (float size : {1e-20f, 0.01f, 1.0f, 1e5f, 1e38f}) {
    for (int inputs : {1, 7, 16, 63, 64, 65, 200}) {
      for (bool rest : {false, true}) {
        check.place(text("rounding of inputs, rest", {inputs, rest}) + ", about " + std::to_string(size));
        const Array<float> x = random.reals(inputs, -size, 1.5f * size);
        const int row = random.whole(0, 40);
        const Rounded rounded(check.kernels, x, {}, rest, row);
        const double step = rounded.scale[row] / (rest ? static_cast<double>(kRestSteps) : 1);
        const double most = 0.5 * step * (1 + 1e-3) + 4e-7 * size + (rest ? 0.02 * step : 1e-4 * step);
        for (int i = 0; i < inputs; i++) check.near(rounded.value(i, is_signed), x[i], most, i);
      }
    }
  }
}

inline void check_preparation(Checker& check, Random& random) {
  const bool is_signed = level_zero_of_rows(check.kernels) != 0;
  for (int inputs : {5, 64, 133}) {
    check.place(text("rounding of a row with outliers, inputs", {inputs}));
    Array<float> x = random.reals(inputs);
    const Array<float> shifts = random.reals(inputs), reciprocals = random.reals(inputs, 0.5f, 2);
    const int32_t outliers[] = {0, 1, inputs - 1};
    for (int outlier : outliers) x[outlier] *= 1000;
    Array<float> factors = reciprocals;
    for (int outlier : outliers) factors[outlier] = 0;
    const Preparation preparation = {shifts.data(), reciprocals.data(), factors.data(), outliers, 3};
    Array<float> prepared(inputs);
    check.kernels.prepare(x.data(), preparation, inputs, prepared.data());
    for (int i = 0; i < inputs; i++) check.equal(prepared[i], (x[i] - shifts[i]) * reciprocals[i], i);
    const Rounded rounded(check.kernels, x, preparation, false, 3);
    for (int i = 0; i < 3; i++) check.equal(rounded.outliers[3 * 3 + i], prepared[outliers[i]], i);
    float low = 0, high = 0;  // outliers count as zeros
    for (int i = 2; i < inputs - 1; i++) {
      low = std::fmin(low, prepared[i]);
      high = std::fmax(high, prepared[i]);
    }
    check.equal(rounded.scale[3], (high - low) / 255.0f, 3);
    for (int i = 2; i < inputs - 1; i++) {
      check.near(rounded.value(i, is_signed), prepared[i], 0.5001 * rounded.scale[3] + 1e-6, i);
    }
  }
}

inline void check_activations(Checker& check, Random& random) {
  for (Activation activation : kActivations) {
    for (int width : {1, 5, 16, 33, 512}) {
      check.place(text("activation, width", {static_cast<int>(activation), width}));
      Array<float> x = random.reals(2 * static_cast<size_t>(width), -12, 12), out(width);
      for (int i = 0; i < width; i += 3) x[i] *= 1e-3f;
      if (width > 20) {
        x[17] = 0;
        x[18] = 1e4f;
        x[19] = -1e4f;
      }
      check.kernels.activate(x.data(), width, 0, activation, out.data());
      for (int i = 0; i < width; i++) check.near(out[i], activated(activation, x[i]), activation_error(x[i]), i);
      check.kernels.activate(x.data(), width, width, activation, out.data());
      for (int i = 0; i < width; i++) {
        const double gate = x[width + i];
        check.near(out[i], activated(activation, x[i]) * gate, activation_error(x[i]) * (1 + std::fabs(gate)), i);
      }
    }
  }
}

inline void check_rotation(Checker& check, Random& random) {
  for (int size : {2, 8, 12, 20, 32, 64, 128}) {
    check.place(text("rotation of heads of", {size}));
    const int heads = 3, half = size / 2;
    Array<float> x = random.reals(static_cast<size_t>(heads) * size);
    const Array<float> before(x), cosine = random.reals(half), sine = random.reals(half);
    check.kernels.rotate(x.data(), heads, size, cosine.data(), sine.data());
    for (int i = 0; i < heads * size; i++) {
      const int pair = i % half, first = i / size * size + pair;
      const double a = before[first], b = before[first + half], cos = cosine[pair], sin = sine[pair];
      check.near(x[i], i == first ? a * cos - b * sin : b * cos + a * sin, 3e-7, i);
    }
  }
}

inline void check_added_bytes(Checker& check, Random& random) {
  for (int count : {1, 7, 16, 17, 100}) {
    for (bool with_factors : {false, true}) {
      check.place(text("added bytes, factors", {count, with_factors}));
      Array<int8_t> bytes(count);
      for (int i = 0; i < count; i++) bytes[i] = static_cast<int8_t>(random.whole(-128, 127));
      Array<float> to = random.reals(count);
      const Array<float> before(to), factors = random.reals(count);
      check.kernels.add_bytes(bytes.data(), 0.03f, with_factors ? factors.data() : nullptr, count, to.data());
      for (int i = 0; i < count; i++) {
        const float value = static_cast<float>(bytes[i]) * 0.03f;
        check.equal(to[i], before[i] + (with_factors ? value * factors[i] : value), i);
      }
    }
  }
}

inline void check_rows(Checker& check) {
  Random random(2);
  check_added_bytes(check, random);
  check_layer_norm(check, random);
  check_halves(check);
  check_equal_rows(check);
  check_ranges(check, random);
  check_preparation(check, random);
  check_activations(check, random);
  check_rotation(check, random);
}

}  // namespace checks
