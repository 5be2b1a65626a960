#include "model.h"

#include <algorithm>
#include <cmath>

#include "packing.h"
#include "tensors.h"

namespace bertedge {
namespace {

// Of rotary positions: 128 MB, and of how many thetas.
constexpr int64_t kMostAngles = 1 << 24;
constexpr size_t kMostRotations = 8;

class Reader {
 public:
  Reader(const be_model& description, Model& model, int threads)
      : in_(description), model_(model), packer_(model.arena, *model.kernels, threads, description.mapped != 0) {}

  void read() {
    read_sizes();
    model_.words = table("words", in_.words, true);
    model_.positions = table("positions", in_.positions, false);
    model_.token_types = table("token types", in_.token_types, false);
    if (model_.positions.is_there() && model_.positions.rows < model_.position_offset + model_.max_length) {
      refuse_model("there are fewer positions than tokens of the longest text");
    }
    model_.embeddings_norm = norm("embeddings norm", in_.embeddings_norm, model_.embedding);
    if (!model_.embeddings_norm.is_there()) refuse_model("embeddings norm is missing");
    if (in_.projection.outputs) {
      model_.projection = packer_.pack("projection", in_.projection, model_.embedding, model_.hidden);
    } else if (model_.embedding != model_.hidden) {
      refuse_model("the projection of the embeddings is missing");
    }
    read_relative_bias();
    for (int i = 0; i < in_.block_count; i++) read_block(i);
    model_.final_norm = norm("final norm", in_.final_norm, model_.hidden);
    if (model_.pre_norm && !model_.final_norm.is_there()) refuse_model("final norm is missing");
    if (in_.pooler.outputs) model_.pooler = packer_.pack("pooler", in_.pooler, model_.hidden, model_.hidden);
    for (int i = 0; i < in_.head_count; i++) read_head(i);
    packer_.drop_read();
  }

 private:
  void read_sizes() {
    if (in_.abi != BE_ABI) refuse_model("it is described for another version of the library");
    model_.hidden = checked_size("hidden size", in_.hidden, 1, kMostChannels);
    model_.embedding = checked_size("embedding size", in_.embedding, 1, kMostChannels);
    model_.heads = checked_size("attention heads", in_.attention_heads, 1, in_.hidden);
    if (model_.hidden % model_.heads) refuse_model("the hidden size is no multiple of the attention heads");
    model_.intermediate = checked_size("intermediate size", in_.intermediate, 1, kMostChannels);
    model_.max_length = checked_size("longest text", in_.max_length, 1, 1 << 20);
    model_.position_offset = checked_size("position offset", in_.position_offset, 0, 1 << 20);
    model_.activation = activation_of(in_.activation);
    model_.pre_norm = in_.pre_norm != 0;
    model_.gated = in_.gated != 0;
    model_.epsilon = in_.epsilon;
    if (!(model_.epsilon > 0 && model_.epsilon < 1)) refuse_model("epsilon is not between 0 and 1");
    checked_size("blocks", in_.block_count, 1, kMostBlocks);
    checked_size("heads of the model", in_.head_count, 0, 64);
    if (!in_.blocks || (in_.head_count && !in_.heads)) refuse_model("the blocks or the heads are missing");
  }

  static Activation activation_of(int32_t value) {
    return static_cast<Activation>(checked_size("activation", value, BE_IDENTITY, BE_TANH));
  }

  Norm norm(const std::string& name, const be_norm& norm, int channels) {
    if (!is_there(norm.weight)) return {};
    return {packer_.floats(name + ": weight", norm.weight, channels),
            packer_.floats(name + ": bias", norm.bias, channels)};
  }

  Table table(const std::string& name, const be_table& in, bool needed) {
    Table to;
    if (in.rows == 0 && !needed) return to;
    to.rows = checked_size((name + ": rows").c_str(), in.rows, 1, kMostRows);
    to.columns = checked_size((name + ": columns").c_str(), in.columns, 1, kMostChannels);
    if (to.columns != model_.embedding) refuse_model(name + ": its columns are not those of the embeddings");
    const uint64_t rows = to.rows, columns = to.columns;
    const be_dtype dtype = check_weight(name + ": values", in.values, rows * columns);
    to.values = in.values;
    if (dtype == BE_INT8) to.scale = packer_.floats(name + ": scale", in.scale, rows);
    if (is_there(in.reciprocals)) to.reciprocals = packer_.floats(name + ": reciprocals", in.reciprocals, columns);
    if (is_there(in.exact_index)) read_exact_rows(name, in, to);
    return to;
  }

  void read_exact_rows(const std::string& name, const be_table& in, Table& to) {
    const uint64_t count = checked_size((name + ": exact rows").c_str(), in.exact_count, 1, 256);
    check_tensor(name + ": exact index", in.exact_index, BE_UINT8, to.rows);
    check_tensor(name + ": exact rows", in.exact_rows, BE_INT8, count * to.columns);
    to.exact_scale = packer_.floats(name + ": exact scale", in.exact_scale, count);
    uint8_t* index = model_.arena.take<uint8_t>(to.rows);
    std::memcpy(index, in.exact_index.data, to.rows);
    for (int row = 0; row < to.rows; row++) {
      if (index[row] >= count) refuse_model(name + ": an exact row is out of range");
    }
    int8_t* rows = model_.arena.take<int8_t>(count * to.columns);
    std::memcpy(rows, in.exact_rows.data, count * to.columns);
    to.exact_index = index;
    to.exact_rows = rows;
  }

  void read_relative_bias() {
    if (!is_there(in_.relative_bias)) return;
    const uint64_t width = in_.relative_bias.bytes / sizeof(float) / model_.heads;
    if (width < 1 || width > kMostChannels || width % 2 == 0) refuse_model("relative bias has another width");
    model_.relative_bias = packer_.floats("relative bias", in_.relative_bias, width * model_.heads);
    model_.bias_reach = static_cast<int>(width / 2);
  }

  void read_block(int index) {
    const be_block& in = in_.blocks[index];
    const std::string name = "block " + std::to_string(index);
    const int hidden = model_.hidden;
    EncoderBlock block;
    read_qkv(name + ": qkv", in.qkv, block);
    block.attention_output = packer_.pack(name + ": attention output", in.attention_output, hidden, hidden);
    block.intermediate = read_intermediate(name + ": intermediate", in.intermediate);
    block.output = packer_.pack(name + ": output", in.output, model_.intermediate, hidden);
    block.attention_norm = norm(name + ": attention norm", in.attention_norm, hidden);
    block.feed_forward_norm = norm(name + ": feed-forward norm", in.feed_forward_norm, hidden);
    // The first block of a pre-norm model may read the embeddings as they are.
    const bool attention_norm_needed = !model_.pre_norm || index > 0;
    if ((attention_norm_needed && !block.attention_norm.is_there()) || !block.feed_forward_norm.is_there()) {
      refuse_model(name + ": a norm is missing");
    }
    block.reach = checked_size((name + ": reach").c_str(), in.reach, 0, 1 << 20);
    if (in.rope_theta != 0) set_rotation(in.rope_theta, block);
    model_.blocks.push_back(block);
  }

  void read_qkv(const std::string& name, const be_linear& in, EncoderBlock& block) {
    const int hidden = model_.hidden;
    if (in.inputs != hidden || in.outputs != 3 * static_cast<int64_t>(hidden)) refuse_model(name + " has another size");
    block.query = packer_.pack(name, in, {{0, hidden}});
    block.key_value = packer_.pack(name, in, {{hidden, hidden}, {2 * hidden, hidden}});
    const be_matrix& query = *Packer::matrix_of(name, in, 0, hidden).first;
    const be_matrix& key = *Packer::matrix_of(name, in, hidden, hidden).first;
    const be_matrix& value = *Packer::matrix_of(name, in, 2 * hidden, hidden).first;
    if (!same(key.shifts, value.shifts) || !same(key.reciprocals, value.reciprocals)) {
      refuse_model(name + ": keys and values read different inputs");
    }
    block.one_input = same(query.shifts, key.shifts) && same(query.reciprocals, key.reciprocals);
  }

  Linear read_intermediate(const std::string& name, const be_linear& in) {
    const int width = model_.intermediate;
    if (!model_.gated) return packer_.pack(name, in, model_.hidden, width);
    if (in.inputs != model_.hidden || in.outputs != 2 * static_cast<int64_t>(width))
      refuse_model(name + " has another size");
    return packer_.pack(name, in, {{0, width}, {width, width}});
  }

  static bool same(const be_tensor& one, const be_tensor& other) {
    if (!is_there(one) || !is_there(other)) return is_there(one) == is_there(other);
    return one.bytes == other.bytes && std::memcmp(one.data, other.data, one.bytes) == 0;
  }

  // Su et al. 2021 (RoFormer), equation 34: the angle of channel pair i at a place is place * theta^(-2 i / size).
  void set_rotation(float theta, EncoderBlock& block) {
    const int size = model_.head_size(), half = size / 2;
    if (size % 2) refuse_model("heads of an odd size cannot be rotated");
    if (!(theta > 0)) refuse_model("rope theta is not positive");
    auto& known = rotations_[theta];
    // A file may say these numbers without having as many bytes.
    if (static_cast<int64_t>(model_.max_length) * half > kMostAngles || rotations_.size() > kMostRotations) {
      refuse_model("there are too many angles of rotation");
    }
    if (!known.first) {
      float* cosine = model_.arena.take<float>(static_cast<size_t>(model_.max_length) * half);
      float* sine = model_.arena.take<float>(static_cast<size_t>(model_.max_length) * half);
      known = {cosine, sine};
      for (int place = 0; place < model_.max_length; place++) {
        for (int i = 0; i < half; i++) {
          const double angle = place * std::pow(static_cast<double>(theta), -2.0 * i / size);
          *cosine++ = static_cast<float>(std::cos(angle));
          *sine++ = static_cast<float>(std::sin(angle));
        }
      }
    }
    block.cosine = known.first;
    block.sine = known.second;
  }

  void read_head(int index) {
    const be_head& in = in_.heads[index];
    const std::string name = "head " + std::to_string(index);
    Head head;
    head.reads = static_cast<be_reads>(checked_size((name + ": reads").c_str(), in.reads, BE_EVERY, BE_POOLER));
    head.activation = activation_of(in.activation);
    if (head.reads == BE_POOLER && !model_.pooler.is_there()) refuse_model(name + ": there is no pooler");
    int width = model_.hidden;
    if (in.dense.outputs) {
      head.dense = packer_.pack(name + ": dense", in.dense, width, in.dense.outputs);
      width = checked_size((name + ": outputs of dense").c_str(), in.dense.outputs, 1, kMostChannels);
    }
    head.norm = norm(name + ": norm", in.norm, width);
    head.last = packer_.pack(name + ": last", in.last, width, in.last.outputs);
    model_.outputs.push_back(head);
  }

  const be_model& in_;
  Model& model_;
  Packer packer_;
  std::map<float, std::pair<const float*, const float*>> rotations_;
};

// Calls work(layer) for every linear layer of a model.
template <class Work>
void for_layers(const Model& model, Work&& work) {
  const auto each = [&](const Linear& layer) {
    if (layer.is_there()) work(layer);
  };
  each(model.projection);
  each(model.pooler);
  for (const EncoderBlock& block : model.blocks) {
    for (const Linear* layer :
         {&block.query, &block.key_value, &block.attention_output, &block.intermediate, &block.output}) {
      each(*layer);
    }
  }
  for (const Head& head : model.outputs) {
    each(head.dense);
    each(head.last);
  }
}

Most most_of(const Model& model) {
  Most most;
  for_layers(model, [&](const Linear& layer) {
    most.inputs = std::max(most.inputs, layer.inputs());
    if (!layer.is_int8()) most.float_inputs = std::max(most.float_inputs, layer.inputs());
    most.outliers = std::max(most.outliers, layer.preparation.outlier_count);
    most.terms = std::max(most.terms, layer.terms);
  });
  return most;
}

}  // namespace

void Table::add_row(const Kernels& kernels, int64_t index, float* to) const {
  const uint64_t start = static_cast<uint64_t>(index) * columns;
  if (values.dtype == BE_INT8) {
    kernels.add_bytes(static_cast<const int8_t*>(values.data) + start, scale[index], reciprocals, columns, to);
  } else {
    for (int i = 0; i < columns; i++) {
      const float value = float_at(values, start + i);
      to[i] += reciprocals ? value * reciprocals[i] : value;
    }
  }
  const uint8_t exact = exact_index ? exact_index[index] : 0;
  if (exact) {
    const int8_t* row = exact_rows + static_cast<size_t>(exact) * columns;
    kernels.add_bytes(row, exact_scale[exact], reciprocals, columns, to);
  }
}

std::unique_ptr<Model> read_model(const be_model& description, const Kernels& kernels, int threads) {
  auto model = std::make_unique<Model>();
  model->kernels = &kernels;
  Reader(description, *model, threads).read();
  model->most = most_of(*model);
  return model;
}

}  // namespace bertedge
