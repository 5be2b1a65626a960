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
  compute_blocks();
  set_prefix("pooler", -1);
  if (pass_.needs_pooler_) pool();
  if (pass_.needs_means_) average();
  for (size_t i = 0; i < pass_.heads_out_.size(); i++) {
    set_prefix("head", static_cast<int>(i));
    if (pass_.heads_out_[i]) answer(model_.outputs[i], pass_.heads_out_[i]);
  }
  kernels_.end();
}

void Pass::Worker::compute_blocks() {
  const int last = static_cast<int>(model_.blocks.size()) - 1;
  const Span all = {0, pass_.tokens_, 0},
             all_of_last = {0, is_pruned(last) ? static_cast<int>(pass_.kept_.size()) : all.end, 0};
  if (pass_.sharing_ != Sharing::kRows) {
    embed(all);
    for (int i = 0; i <= last; i++) finish_block(i, i == last ? all_of_last : all);
    return;
  }
  for_spans(pass_.spans_, [&](const Span& span) { embed(span); });
  for (int i = 0; i < last; i++) {
    for_spans(pass_.spans_, [&](const Span& span) { finish_block(i, span); });
  }
  if (pass_.last_spans_.empty()) return finish_block(last, all_of_last);
  for_spans(pass_.last_spans_, [&](const Span& span) { finish_block(last, span); });
}

void Pass::Worker::set_prefix(const char* what, int index) {
  if (!pass_.timed_ || self_ != 0) return;
  prefix_ = index < 0 ? std::string(what) + " " : std::string(what) + " " + std::to_string(index) + " ";
}

void Pass::Worker::note(const char* name) {
  if (!pass_.timed_ || self_ != 0) return;
  const auto now = std::chrono::steady_clock::now();
  pass_.times_.emplace_back(prefix_ + name, std::chrono::duration<double, std::milli>(now - last_).count());
  last_ = now;
}

// -- steps ------------------------------------------------------------------------------------------------------------

void Pass::Worker::prepare(const Linear& layer, const float* x, const LayerInput& to, const Span& span, int row) {
  const int index = row - span.begin;
  if (!layer.is_int8()) return kernels_.prepare(x, layer.preparation, layer.inputs(), to.floats[span.place + index]);
  kernels_.quantize(x, layer.preparation, layer.inputs(), to.from(span.place, layer.terms), index);
}

Product Pass::Worker::product(const Linear& layer, const LayerInput& input, const Span& span, const Rows& out) const {
  Product p;
  p.weights = &layer.weights;
  p.panels = layer.panels();
  p.rows = span.size();
  p.row_parts = row_parts(layer, p.rows, p.panels, shared_ ? pass_.threads() : 1);
  p.outlier_count = layer.preparation.outlier_count;
  p.levels = input.from(span.place, layer.terms);
  p.values = input.floats[span.place];
  p.value_stride = input.floats.stride;
  p.out = out[span.begin];
  p.out_stride = out.stride;
  p.out_columns = layer.outputs();
  return p;
}

Product Pass::Worker::product(const Linear& layer, const LayerInput& input, const Span& span, const Rows& out,
                              const Rows& addend) const {
  Product p = product(layer, input, span, out);
  p.addend = addend[span.begin];
  p.addend_stride = addend.stride;
  return p;
}

void Pass::Worker::multiply(const char* name, const Product* products, int count) {
  // The products do not depend on each other, so a thread goes on with the next one before all others are ready.
  int items[2];
  Claim claims[2] = {Claim(0), Claim(0)};
  for (int i = 0; i < count; i++) {
    items[i] = products[i].panels * products[i].row_parts;
    claims[i] = shared_ ? pass_.claim(step_ + i, items[i], self_) : Claim(items[i]);
    (products[i].weights->levels ? kernels_.int8_product : kernels_.float_product)(products[i], claims[i]);
  }
  if (shared_) {
    for (int i = 0; i < count; i++) pass_.finish(step_++, items[i], claims[i]);
  }
  note(name);
}

const float* Pass::Worker::normalized(const Norm& norm, float* row, int index) {
  if (!model_.pre_norm || !norm.is_there()) return row;
  kernels_.layer_norm(row, norm.weight, norm.bias, model_.hidden, model_.epsilon, pass_.normed_[index]);
  return pass_.normed_[index];
}

// -- embeddings -------------------------------------------------------------------------------------------------------

void Pass::Worker::embed(const Span& span) {
  set_prefix("embeddings", -1);
  const bool projected = model_.projection.is_there();
  for_rows("look up", span, [&](int row) {
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
      prepare(model_.projection, x, pass_.input_, span, row);
    } else {
      block_input(0, span, row);
    }
  });
  if (projected) {
    multiply("projection", product(model_.projection, pass_.input_, span, pass_.stream_));
    for_rows("quantize", span, [&](int row) { block_input(0, span, row); });
  }
  start_block(0, span);
}

// -- blocks -----------------------------------------------------------------------------------------------------------

void Pass::Worker::block_input(int index, const Span& span, int row) {
  const EncoderBlock& block = model_.blocks[index];
  const float* x = normalized(block.attention_norm, pass_.stream_[row], row);
  prepare(block.key_value, x, pass_.input_, span, row);
  if (!block.one_input && !is_pruned(index)) prepare(block.query, x, pass_.query_input_, span, row);
}

void Pass::Worker::start_block(int index, const Span& span) {
  set_prefix("block", index);
  const EncoderBlock& block = model_.blocks[index];
  const Product products[] = {
      product(block.key_value, pass_.input_, span, key_value(index)),
      product(block.query, block.one_input ? pass_.input_ : pass_.query_input_, span, pass_.query_)};
  const bool pruned = is_pruned(index);
  multiply("query, key, value", products, pruned ? 1 : 2);
  if (!block.cosine) return;
  rotate(block, key_value(index), pass_.places_, span);
  if (!pruned) rotate(block, pass_.query_, pass_.places_, span);
}

void Pass::Worker::rotate(const EncoderBlock& block, const Rows& rows, const std::vector<int32_t>& places,
                          const Span& span) {
  const int size = model_.head_size();
  for_rows("rotate", span, [&](int row) {
    const size_t at = static_cast<size_t>(places[row]) * (size / 2);
    kernels_.rotate(rows[row], model_.heads, size, block.cosine + at, block.sine + at);
  });
}

void Pass::Worker::gather_queries(int index, const Span& span) {
  const EncoderBlock& block = model_.blocks[index];
  for_rows("gather", span, [&](int row) {
    float* x = pass_.gathered_[row];
    std::memcpy(x, pass_.stream_[pass_.kept_[row]], sizeof(float) * model_.hidden);
    prepare(block.query, normalized(block.attention_norm, x, row), pass_.query_input_, span, row);
  });
  multiply("query", product(block.query, pass_.query_input_, span, pass_.query_));
  if (block.cosine) rotate(block, pass_.query_, pass_.kept_places_, span);
}

void Pass::Worker::finish_block(int index, const Span& span) {
  set_prefix("block", index);
  const EncoderBlock& block = model_.blocks[index];
  const bool pruned = is_pruned(index);
  if (pruned) gather_queries(index, span);
  attend(index, span);
  for_rows("quantize context", span,
           [&](int row) { prepare(block.attention_output, pass_.query_[row], pass_.input_, span, row); });
  multiply("attention output", product(block.attention_output, pass_.input_, span, pass_.sum_, made_by(index)));
  for_rows("attention norm", span, [&](int row) {
    float* x = pass_.sum_[row];
    const Norm& norm = model_.pre_norm ? block.feed_forward_norm : block.attention_norm;
    if (!model_.pre_norm) kernels_.layer_norm(x, norm.weight, norm.bias, model_.hidden, model_.epsilon, x);
    prepare(block.intermediate, normalized(norm, x, row), pass_.input_, span, row);
  });
  feed_forward(index, span);
  end_block(index, span);
}

void Pass::Worker::attend(int index, const Span& span) {
  const EncoderBlock& block = model_.blocks[index];
  const bool pruned = is_pruned(index);
  Attention t;
  t.q = pass_.query_.data;
  t.q_stride = pass_.query_.stride;
  t.k = key_value(index).data;
  t.v = t.k + round_up(model_.hidden, kPanel);
  t.kv_stride = key_value(index).stride;
  t.size = model_.head_size();
  t.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(t.size)));
  t.places = (pruned ? pass_.kept_places_ : pass_.places_).data();
  t.reach = block.reach;
  t.coarse = block.query.is_int8() && block.key_value.is_int8();
  t.bias = model_.relative_bias;
  t.bias_reach = model_.bias_reach;
  t.out = pass_.query_.data;  // a head of a query is not read again once its context is known
  t.out_stride = pass_.query_.stride;
  const int items = model_.heads * pass_.texts_;
  Claim claim = shared_ ? pass_.claim(step_, items, self_) : Claim(items);
  for (int item; (item = claim.next()) >= 0;) attend_text(t, item % pass_.texts_, item / pass_.texts_, pruned, span);
  if (shared_) pass_.finish(step_++, items, claim);
  note("attention");
}

void Pass::Worker::attend_text(const Attention& t, int text, int head, bool pruned, const Span& span) {
  const std::vector<int32_t>& queries = pruned ? pass_.kept_starts_ : pass_.starts_;
  const int begin = std::max(queries[text], span.begin), end = std::min(queries[text + 1], span.end);
  if (begin >= end) return;
  const int key = pass_.starts_[text];
  kernels_.attention(t, {head, key, pass_.starts_[text + 1] - key, begin, end - begin}, scratch_);
}

void Pass::Worker::feed_forward(int index, const Span& span) {
  const EncoderBlock& block = model_.blocks[index];
  Product up = product(block.intermediate, pass_.input_, span, pass_.middle_);
  if (!model_.gated) up.activation = model_.activation;
  multiply("intermediate", up);
  const int gate = round_up(model_.intermediate, kPanel);
  for_rows("quantize activation", span, [&](int row) {
    float* x = pass_.middle_[row];
    if (model_.gated) kernels_.activate(x, model_.intermediate, gate, model_.activation, x);
    prepare(block.output, x, pass_.input_, span, row);
  });
  multiply("output", product(block.output, pass_.input_, span, made_by(index), pass_.sum_));
}

void Pass::Worker::end_block(int index, const Span& span) {
  const bool last = is_last(index);
  const Norm& norm = model_.pre_norm ? model_.final_norm : model_.blocks[index].feed_forward_norm;
  for_rows("norm", span, [&](int row) {
    float* x = made_by(index)[row];
    if (!model_.pre_norm || last) kernels_.layer_norm(x, norm.weight, norm.bias, model_.hidden, model_.epsilon, x);
    if (!last) return block_input(index + 1, span, row);
    if (pass_.states_out_) {
      std::memcpy(pass_.states_out_ + static_cast<size_t>(row) * model_.hidden, x, sizeof(float) * model_.hidden);
    }
  });
  if (!last) start_block(index + 1, span);
}

}  // namespace bertedge
