// A model as the forward pass reads it: checked, and packed for one instruction set.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api.h"
#include "kernels.h"
#include "layout.h"
#include "memory.h"

namespace bertedge {

// A linear layer, or a part of one, whose outputs read the same prepared input.
struct Linear {
  PackedWeights weights;
  Preparation preparation;
  int terms = 1;  // int8 terms of an activation

  bool is_there() const { return weights.outputs > 0; }
  bool is_int8() const { return weights.levels != nullptr; }
  int inputs() const { return weights.inputs; }
  int outputs() const { return weights.outputs; }
  int panels() const { return panels_of(weights.outputs); }
};

struct Norm {
  const float* weight = nullptr;
  const float* bias = nullptr;

  bool is_there() const { return weight != nullptr; }
};

// A look-up table; its values stay in the bundle's memory.
struct Table {
  be_tensor values = {};
  const float* scale = nullptr;
  const float* reciprocals = nullptr;
  const uint8_t* exact_index = nullptr;
  const int8_t* exact_rows = nullptr;
  const float* exact_scale = nullptr;
  int rows = 0, columns = 0;

  bool is_there() const { return rows > 0; }
  // Adds row `index`, as floats, to a row of `columns` values.
  void add_row(const Kernels& kernels, int64_t index, float* to) const;
};

struct EncoderBlock {
  // The query is apart, since the last block may need it for some rows only. Keys and values follow one another, each
  // padded to whole panels.
  Linear query, key_value;
  bool one_input = false;  // query and key_value read the same prepared input
  Linear attention_output, intermediate, output;
  Norm attention_norm, feed_forward_norm;
  int reach = 0;
  // Rotary positions: cosines and sines (max_length, size / 2); null without them.
  const float* cosine = nullptr;
  const float* sine = nullptr;
};

struct Head {
  be_reads reads = BE_EVERY;
  Activation activation = Activation::kIdentity;
  Linear dense, last;
  Norm norm;
};

// The largest numbers of all linear layers: inputs, inputs of those with float weights, outliers, terms.
struct Most {
  int inputs = 0, float_inputs = 0, outliers = 0, terms = 1;
};

struct Model {
  int hidden = 0, embedding = 0, heads = 0, intermediate = 0, max_length = 0, position_offset = 0;
  bool pre_norm = false, gated = false;
  Activation activation = Activation::kIdentity;
  float epsilon = 0;
  Table words, positions, token_types;
  Norm embeddings_norm, final_norm;
  Linear projection, pooler;
  std::vector<EncoderBlock> blocks;
  std::vector<Head> outputs;
  const float* relative_bias = nullptr;  // (heads, 2 * bias_reach + 1)
  int bias_reach = 0;
  Most most;
  const Kernels* kernels = nullptr;
  Arena arena;

  int head_size() const { return hidden / heads; }
};

// Checks a description, and packs its weights for these kernels with some threads. Throws Refusal and std::bad_alloc.
std::unique_ptr<Model> read_model(const be_model& description, const Kernels& kernels, int threads);

}  // namespace bertedge
