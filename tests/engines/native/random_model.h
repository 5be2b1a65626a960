// Small random models of every structure, described as be_model, for the programs in this folder.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "api.h"

namespace bertedge_test {

using Random = std::mt19937;

inline int pick(Random& random, int low, int high) {  // both may be picked
  return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
}
inline bool coin(Random& random) { return random() % 2 == 1; }

// What differs between the families of encoders, and between number formats.
struct Structure {
  int attention_heads = 2, head_size = 16, intermediate = 48, blocks = 2, vocabulary = 60, max_length = 75;
  int embedding = 0;  // 0: as wide as the states
  int reach = 0;      // of every second block
  int position_offset = 0;
  int activation = BE_GELU;
  bool pre_norm = false, gated = false, token_types = true, positions = true, rotary = false, relative_bias = false;
  bool pooler = true, by_output = false, three_matrices = false, prepared = false, exact_rows = false;
  int format = BE_FLOAT32;  // of layers and tables
  int terms = 1, outliers = 0;
  int hidden() const { return attention_heads * head_size; }
};

inline Structure random_structure(Random& random) {
  static const int sizes[] = {8, 16, 20, 24, 32, 40, 64, 96, 128};
  static const int formats[] = {BE_FLOAT32, BE_FLOAT16, BE_INT8, BE_INT8};
  Structure s;
  s.attention_heads = pick(random, 1, 3);
  s.head_size = sizes[pick(random, 0, 8)];
  s.intermediate = pick(random, 1, 150);
  s.blocks = pick(random, 1, 3);
  s.embedding = coin(random) ? 0 : pick(random, 1, 70);
  s.reach = coin(random) ? 0 : pick(random, 1, 9);
  s.position_offset = pick(random, 0, 2);
  s.activation = pick(random, BE_GELU, BE_SILU);
  s.pre_norm = coin(random), s.gated = coin(random), s.token_types = coin(random);
  s.positions = coin(random), s.rotary = !s.positions && coin(random), s.relative_bias = coin(random);
  s.pooler = coin(random), s.by_output = coin(random);
  s.three_matrices = coin(random), s.prepared = coin(random), s.exact_rows = coin(random);
  s.format = formats[pick(random, 0, 3)];
  s.terms = s.format == BE_INT8 ? pick(random, 1, 2) : 1;
  s.outliers = s.format == BE_INT8 && coin(random) ? pick(random, 1, 4) : 0;
  return s;
}

class RandomModel {
 public:
  RandomModel(Random& random, const Structure& structure) : random_(random), s_(structure) {
    const int hidden = s_.hidden(), embedding = s_.embedding ? s_.embedding : hidden;
    model.abi = BE_ABI;
    model.hidden = hidden, model.embedding = embedding;
    model.attention_heads = s_.attention_heads, model.intermediate = s_.intermediate;
    model.max_length = s_.max_length, model.position_offset = s_.position_offset;
    model.pre_norm = s_.pre_norm, model.gated = s_.gated;
    model.activation = s_.activation, model.epsilon = 1e-5f;
    model.words = table(s_.vocabulary, embedding);
    if (s_.positions) model.positions = table(s_.max_length + s_.position_offset, embedding);
    if (s_.token_types) model.token_types = table(2, embedding);
    model.embeddings_norm = norm(embedding);
    if (s_.embedding) model.projection = linear(embedding, hidden);
    if (s_.pre_norm) model.final_norm = norm(hidden);
    if (s_.relative_bias) model.relative_bias = floats(s_.attention_heads * 15, 0.5f);
    if (s_.pooler) model.pooler = linear(hidden, hidden);
    for (int i = 0; i < s_.blocks; ++i) blocks.push_back(block(i));
    model.block_count = s_.blocks, model.blocks = blocks.data();
    for (int reads = BE_EVERY; reads <= (s_.pooler ? BE_POOLER : BE_MEAN); ++reads) heads.push_back(head(reads));
    model.head_count = static_cast<int32_t>(heads.size()), model.heads = heads.data();
  }
  RandomModel(const RandomModel&) = delete;

  be_model model{};
  std::vector<be_block> blocks;
  std::vector<be_head> heads;
  std::deque<std::vector<be_matrix>> matrices;
  std::deque<std::vector<int32_t>> outliers;
  std::deque<std::vector<unsigned char>> storage;

 private:
  template <class T>
  be_tensor stored(const std::vector<T>& values, int dtype) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    storage.emplace_back(bytes, bytes + values.size() * sizeof(T));
    return {storage.back().data(), storage.back().size(), dtype, 0};
  }

  be_tensor floats(int count, float size, float middle = 0) {
    std::normal_distribution<float> normal(middle, size);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(random_);
    return stored(values, BE_FLOAT32);
  }

  be_tensor positive(int count, float largest) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = largest * static_cast<float>(pick(random_, 1, 100)) / 100;
    return stored(values, BE_FLOAT32);
  }

  be_tensor int8s(int count) {
    std::vector<int8_t> values(static_cast<size_t>(count));
    for (int8_t& value : values) value = static_cast<int8_t>(pick(random_, -127, 127));
    return stored(values, BE_INT8);
  }

  be_tensor halves(int count) {  // from 1/32 to 1/4, of both signs
    std::vector<uint16_t> values(static_cast<size_t>(count));
    for (uint16_t& value : values) {
      value = static_cast<uint16_t>((random_() & 0x83ffu) | static_cast<unsigned>(pick(random_, 10, 12)) << 10);
    }
    return stored(values, BE_FLOAT16);
  }

  be_tensor levels(int count, int inputs) {
    if (s_.format == BE_INT8) return int8s(count);
    return s_.format == BE_FLOAT16 ? halves(count) : floats(count, 1 / std::sqrt(static_cast<float>(inputs)));
  }

  be_norm norm(int channels) { return {floats(channels, 0.1f, 1), floats(channels, 0.1f)}; }

  be_table table(int rows, int columns) {
    be_table table{};
    table.rows = rows, table.columns = columns;
    table.values = levels(rows * columns, 1);
    if (s_.format == BE_INT8) table.scale = positive(rows, 0.01f);
    if (s_.prepared) table.reciprocals = positive(columns, 1);
    if (!s_.exact_rows) return table;
    std::vector<uint8_t> index(static_cast<size_t>(rows));
    for (uint8_t& row : index) row = static_cast<uint8_t>(pick(random_, 0, 3));
    table.exact_count = 4;
    table.exact_index = stored(index, BE_UINT8);
    table.exact_rows = int8s(4 * columns);
    table.exact_scale = positive(4, 0.001f);
    return table;
  }

  be_matrix matrix(int inputs, int outputs, int outlier_count) {
    be_matrix matrix{};
    matrix.outputs = outputs, matrix.by_output = s_.by_output;
    matrix.weight = levels(inputs * outputs, inputs);
    matrix.bias = floats(outputs, 0.1f);
    if (s_.format == BE_INT8) matrix.scale = positive(outputs, 0.02f / std::sqrt(static_cast<float>(inputs)));
    if (s_.prepared) matrix.shifts = floats(inputs, 0.1f), matrix.reciprocals = positive(inputs, 2);
    if (outlier_count) matrix.outlier_weight = halves(outlier_count * outputs);
    return matrix;
  }

  be_linear linear(int inputs, int outputs, int parts = 1) {
    be_linear linear{};
    linear.inputs = inputs, linear.outputs = outputs, linear.terms = s_.terms;
    std::vector<int32_t> own;
    for (int i = 0; i < inputs && static_cast<int>(own.size()) < s_.outliers; i += 3) own.push_back(i);
    outliers.push_back(own);
    linear.outliers = own.empty() ? nullptr : outliers.back().data();
    linear.outlier_count = static_cast<int32_t>(own.size());
    matrices.emplace_back();
    for (int i = 0; i < parts; ++i) matrices.back().push_back(matrix(inputs, outputs / parts, linear.outlier_count));
    if (parts == 3) {  // keys and values read the same input
      matrices.back()[2].shifts = matrices.back()[1].shifts;
      matrices.back()[2].reciprocals = matrices.back()[1].reciprocals;
    }
    linear.matrices = matrices.back().data(), linear.matrix_count = parts;
    return linear;
  }

  be_block block(int place) {
    const int hidden = s_.hidden();
    be_block block{};
    block.qkv = linear(hidden, 3 * hidden, s_.three_matrices ? 3 : 1);
    block.attention_output = linear(hidden, hidden);
    block.intermediate = linear(hidden, (s_.gated ? 2 : 1) * s_.intermediate);
    block.output = linear(s_.intermediate, hidden);
    if (!s_.pre_norm || place > 0) block.attention_norm = norm(hidden);
    block.feed_forward_norm = norm(hidden);
    block.reach = place % 2 ? s_.reach : 0;
    block.rope_theta = s_.rotary ? 10000.0f : 0.0f;
    return block;
  }

  be_head head(int reads) {
    const int hidden = s_.hidden();
    be_head head{};
    head.reads = reads;
    if (reads == BE_MASKED || reads == BE_FIRST) {
      head.dense = linear(hidden, hidden), head.activation = s_.activation;
      if (reads == BE_MASKED) head.norm = norm(hidden);
    }
    head.last = linear(hidden, reads == BE_MASKED ? s_.vocabulary : 2 + reads);
    return head;
  }

  Random& random_;
  Structure s_;
};

}  // namespace bertedge_test
