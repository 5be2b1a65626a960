#include "worker.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bertedge {
namespace {

// Bytes of levels that stay in a core's second-level cache while panel after panel is multiplied with them.
constexpr size_t kCachedLevels = 384 * 1024;

int row_parts(const Linear& layer, int rows, int panels, int threads) {
  const size_t bytes = static_cast<size_t>(rows) * layer.inputs();
  const int for_cache = static_cast<int>((bytes + kCachedLevels - 1) / kCachedLevels);
  // At least four items a thread, so that no thread waits long for the last one; but no part of fewer than 32 rows.
  const int for_threads = threads > 1 && panels < 4 * threads ? (4 * threads + panels - 1) / panels : 1;
  const int most = (rows + 31) / 32;
  return std::min(std::max(for_cache, for_threads), std::max(most, 1));
}

}  // namespace

void Pass::work(int self) { Worker(*this, self).run(); }

void Pass::Worker::run() {
  if (pass_.pruned_ && pass_.kept_.empty()) return;  // no output is wanted, or none of a head that reads masked tokens
  kernels_.begin();
  embed();
  for (int i = 0; i < static_cast<int>(model_.blocks.size()); i++) block(i);
  prefix_.clear();
  if (pass_.needs_pooler_) pool();
  if (pass_.needs_means_) average();
  for (size_t i = 0; i < pass_.heads_out_.size(); i++) {
    if (pass_.timed_) prefix_ = "head " + std::to_string(i) + " ";
    if (pass_.heads_out_[i]) answer(model_.outputs[i], pass_.heads_out_[i]);
  }
  kernels_.end();
}

void Pass::Worker::note(const std::string& name) {
  if (!pass_.timed_ || self_ != 0) return;
  const auto now = std::chrono::steady_clock::now();
  pass_.times_.emplace_back(prefix_ + name, std::chrono::duration<double, std::milli>(now - last_).count());
  last_ = now;
}

// -- steps ------------------------------------------------------------------------------------------------------------

void Pass::Worker::prepare(const Linear& layer, const float* x, const LayerInput& to, int row) {
  if (!layer.is_int8()) return kernels_.prepare(x, layer.preparation, layer.inputs(), to.floats[row]);
  QuantizedRows rows = to.quantized;
  if (layer.terms == 1) rows.rest_levels = nullptr;
  kernels_.quantize(x, layer.preparation, layer.inputs(), rows, row);
}

Product Pass::Worker::product(const Linear& layer, const LayerInput& input, int rows, Rows out) const {
  Product p;
  p.weights = &layer.weights;
  p.panels = layer.panels();
  p.rows = rows;
  p.row_parts = row_parts(layer, rows, p.panels, pass_.threads());
  p.levels = input.quantized;
  if (layer.terms == 1) p.levels.rest_levels = nullptr;
  p.values = input.floats.data;
  p.value_stride = input.floats.stride;
  p.outlier_count = layer.preparation.outlier_count;
  p.out = out.data;
  p.out_stride = out.stride;
  p.out_columns = layer.outputs();
  return p;
}

void Pass::Worker::multiply(const std::string& name, const Product* products, int count) {
  // The products do not depend on each other, so a thread goes on with the next one before all others are ready.
  int items[2];
  Claim claims[2] = {Claim(0), Claim(0)};
  for (int i = 0; i < count; i++) {
    items[i] = products[i].panels * products[i].row_parts;
    claims[i] = pass_.claim(step_ + i, items[i], self_);
    (products[i].weights->levels ? kernels_.int8_product : kernels_.float_product)(products[i], claims[i]);
  }
  for (int i = 0; i < count; i++) pass_.finish(step_++, items[i], claims[i]);
  note(name);
}

const float* Pass::Worker::normalized(const Norm& norm, float* row, int index) {
  if (!model_.pre_norm) return row;
  if (!norm.is_there()) return row;
  kernels_.layer_norm(row, norm.weight, norm.bias, model_.hidden, model_.epsilon, pass_.normed_[index]);
  return pass_.normed_[index];
}

// -- embeddings and blocks --------------------------------------------------------------------------------------------

void Pass::Worker::embed() {
  const bool projected = model_.projection.is_there();
  for_rows("embeddings", pass_.tokens_, [&](int row) {
    float* x = projected ? pass_.normed_[row] : pass_.stream_[row];
    std::fill(x, x + model_.embedding, 0.0f);
    model_.words.add_row(kernels_, pass_.ids_[row], x);
    if (model_.positions.is_there()) {
      model_.positions.add_row(kernels_, model_.position_offset + pass_.places_[row], x);
    }
    if (model_.token_types.is_there()) model_.token_types.add_row(kernels_, pass_.types_[row], x);
    const Norm& norm = model_.embeddings_norm;
    kernels_.layer_norm(x, norm.weight, norm.bias, model_.embedding, model_.epsilon, x);
    if (projected) {
      prepare(model_.projection, x, pass_.input_, row);
    } else {
      block_input(0, row);
    }
  });
  if (!projected) return;
  multiply("projection", product(model_.projection, pass_.input_, pass_.tokens_, pass_.stream_));
  for_rows("quantize", pass_.tokens_, [&](int row) { block_input(0, row); });
}

void Pass::Worker::block_input(int index, int row) {
  const EncoderBlock& block = model_.blocks[index];
  const bool last = index + 1 == static_cast<int>(model_.blocks.size());
  const float* x = normalized(block.attention_norm, pass_.stream_[row], row);
  prepare(block.key_value, x, pass_.input_, row);
  if (!block.one_input && !(last && pass_.pruned_)) prepare(block.query, x, pass_.query_input_, row);
}

void Pass::Worker::gather(int index) {
  const EncoderBlock& block = model_.blocks[index];
  for_rows("gather", static_cast<int>(pass_.kept_.size()), [&](int row) {
    float* x = pass_.gathered_[row];
    std::memcpy(x, pass_.stream_[pass_.kept_[row]], sizeof(float) * model_.hidden);
    prepare(block.query, normalized(block.attention_norm, x, row), pass_.query_input_, row);
  });
}

void Pass::Worker::block(int index) {
  if (pass_.timed_) prefix_ = "block " + std::to_string(index) + " ";
  const EncoderBlock& block = model_.blocks[index];
  const bool pruned = pass_.pruned_ && index + 1 == static_cast<int>(model_.blocks.size());
  const int rows = pruned ? static_cast<int>(pass_.kept_.size()) : pass_.tokens_;
  query_key_value(index);
  attend(block, pruned);
  for_rows("quantize context", rows, [&](int row) { prepare(block.attention_output, pass_.query_[row], pass_.input_, row); });
  Product out = product(block.attention_output, pass_.input_, rows, pass_.sum_);
  const Rows& before = pruned ? pass_.gathered_ : pass_.stream_;
  out.addend = before.data;
  out.addend_stride = before.stride;
  multiply("attention output", out);
  for_rows("attention norm", rows, [&](int row) {
    float* x = pass_.sum_[row];
    const Norm& norm = model_.pre_norm ? block.feed_forward_norm : block.attention_norm;
    if (!model_.pre_norm) kernels_.layer_norm(x, norm.weight, norm.bias, model_.hidden, model_.epsilon, x);
    prepare(block.intermediate, normalized(norm, x, row), pass_.input_, row);
  });
  feed_forward(block, rows);
  end_block(index, rows);
}

void Pass::Worker::query_key_value(int index) {
  const EncoderBlock& block = model_.blocks[index];
  const bool pruned = pass_.pruned_ && index + 1 == static_cast<int>(model_.blocks.size());
  if (pruned) gather(index);
  const int rows = pruned ? static_cast<int>(pass_.kept_.size()) : pass_.tokens_;
  const LayerInput& query_input = pruned || !block.one_input ? pass_.query_input_ : pass_.input_;
  const Product products[] = {product(block.query, query_input, rows, pass_.query_),
                              product(block.key_value, pass_.input_, pass_.tokens_, pass_.key_value_)};
  multiply("query, key, value", products, 2);
  if (!block.cosine) return;
  const int size = model_.head_size(), half = size / 2;
  const std::vector<int32_t>& places = pruned ? pass_.kept_places_ : pass_.places_;
  for_rows("rotate keys", pass_.tokens_, [&](int row) {
    const size_t at = static_cast<size_t>(pass_.places_[row]) * half;
    kernels_.rotate(pass_.key_value_[row], model_.heads, size, block.cosine + at, block.sine + at);
  });
  for_rows("rotate queries", rows, [&](int row) {
    const size_t at = static_cast<size_t>(places[row]) * half;
    kernels_.rotate(pass_.query_[row], model_.heads, size, block.cosine + at, block.sine + at);
  });
}

void Pass::Worker::attend(const EncoderBlock& block, bool pruned) {
  Attention t;
  t.q = pass_.query_.data;
  t.q_stride = pass_.query_.stride;
  t.k = pass_.key_value_.data;
  t.v = t.k + round_up(model_.hidden, kPanel);
  t.kv_stride = pass_.key_value_.stride;
  t.size = model_.head_size();
  t.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(t.size)));
  t.places = (pruned ? pass_.kept_places_ : pass_.places_).data();
  t.reach = block.reach;
  t.bias = model_.relative_bias;
  t.bias_reach = model_.bias_reach;
  t.out = pass_.query_.data;  // a head of a query is not read again once its context is known
  t.out_stride = pass_.query_.stride;
  const std::vector<int32_t>& queries = pruned ? pass_.kept_starts_ : pass_.starts_;
  const int items = model_.heads * pass_.texts_;
  Claim claim = pass_.claim(step_, items, self_);
  for (int item; (item = claim.next()) >= 0;) {
    const int text = item % pass_.texts_, key = pass_.starts_[text], query = queries[text];
    const AttentionItem part = {item / pass_.texts_, key, pass_.starts_[text + 1] - key, query, queries[text + 1] - query};
    if (part.queries) kernels_.attention(t, part, scratch_);
  }
  pass_.finish(step_++, items, claim);
  note("attention");
}

void Pass::Worker::feed_forward(const EncoderBlock& block, int rows) {
  Product up = product(block.intermediate, pass_.input_, rows, pass_.middle_);
  if (!model_.gated) up.activation = model_.activation;
  multiply("intermediate", up);
  const int gate = round_up(model_.intermediate, kPanel);
  for_rows("quantize activation", rows, [&](int row) {
    float* x = pass_.middle_[row];
    if (model_.gated) kernels_.activate(x, model_.intermediate, gate, model_.activation, x);
    prepare(block.output, x, pass_.input_, row);
  });
  Product down = product(block.output, pass_.input_, rows, pass_.stream_);
  down.addend = pass_.sum_.data;
  down.addend_stride = pass_.sum_.stride;
  multiply("output", down);
}

void Pass::Worker::end_block(int index, int rows) {
  const bool last = index + 1 == static_cast<int>(model_.blocks.size());
  const Norm& norm = model_.pre_norm ? model_.final_norm : model_.blocks[index].feed_forward_norm;
  for_rows("norm", rows, [&](int row) {
    float* x = pass_.stream_[row];
    if (!model_.pre_norm || last) kernels_.layer_norm(x, norm.weight, norm.bias, model_.hidden, model_.epsilon, x);
    if (!last) return block_input(index + 1, row);
    if (pass_.states_out_) {
      std::memcpy(pass_.states_out_ + static_cast<size_t>(row) * model_.hidden, x, sizeof(float) * model_.hidden);
    }
  });
}

// -- heads ------------------------------------------------------------------------------------------------------------

void Pass::Worker::pool() {
  for_rows("quantize pooler", pass_.texts_, [&](int text) {
    prepare(model_.pooler, state(pass_.starts_[text]), pass_.input_, text);
  });
  Product pooler = product(model_.pooler, pass_.input_, pass_.texts_, pass_.pooled_);
  pooler.activation = Activation::kTanh;
  multiply("pooler", pooler);
}

void Pass::Worker::average() {
  for_rows("mean", pass_.texts_, [&](int text) {
    float* mean = pass_.means_[text];
    std::fill(mean, mean + model_.hidden, 0.0f);
    const int begin = pass_.starts_[text], end = pass_.starts_[text + 1];
    for (int token = begin; token < end; token++) {
      const float* x = state(token);
      for (int i = 0; i < model_.hidden; i++) mean[i] += x[i];
    }
    for (int i = 0; i < model_.hidden; i++) mean[i] /= static_cast<float>(end - begin);
  });
}

const float* Pass::Worker::head_row(const Head& head, int row) const {
  switch (head.reads) {
    case BE_EVERY: return state(row);
    case BE_MASKED: return state(pass_.masked_[row]);
    case BE_FIRST: return state(pass_.starts_[row]);
    case BE_MEAN: return pass_.means_[row];
    case BE_POOLER: return pass_.pooled_[row];
  }
  return nullptr;
}

void Pass::Worker::answer(const Head& head, float* out) {
  const int rows = pass_.rows_of(head);
  const bool dense = head.dense.is_there();
  const auto normed = [&](const float* x, int width, int row) {
    if (!head.norm.is_there()) return x;
    kernels_.layer_norm(x, head.norm.weight, head.norm.bias, width, model_.epsilon, pass_.head_[row]);
    return static_cast<const float*>(pass_.head_[row]);
  };
  for_rows("quantize", rows, [&](int row) {
    const float* x = head_row(head, row);
    if (dense) return prepare(head.dense, x, pass_.input_, row);
    prepare(head.last, normed(x, model_.hidden, row), pass_.input_, row);
  });
  if (dense) {
    Product inner = product(head.dense, pass_.input_, rows, pass_.head_);
    inner.activation = head.activation;
    multiply("dense", inner);
    for_rows("norm", rows, [&](int row) {
      prepare(head.last, normed(pass_.head_[row], head.dense.outputs(), row), pass_.input_, row);
    });
  }
  multiply("logits", product(head.last, pass_.input_, rows, {out, head.last.outputs()}));
}

}  // namespace bertedge
