#include <algorithm>
#include <cstring>

#include "worker.h"

namespace bertedge {

void Pass::Worker::pool() {
  const Span span = {0, pass_.texts_, 0};
  for_rows("quantize", span,
           [&](int text) { prepare(model_.pooler, state(pass_.starts_[text]), pass_.input_, span, text); });
  Product pooler = product(model_.pooler, pass_.input_, span, pass_.pooled_);
  pooler.activation = Activation::kTanh;
  multiply("product", pooler);
}

void Pass::Worker::average() {
  for_rows("mean", {0, pass_.texts_, 0}, [&](int text) {
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
    case BE_EVERY:
      return state(row);
    case BE_MASKED:
      return state(pass_.masked_[row]);
    case BE_FIRST:
      return state(pass_.starts_[row]);
    case BE_MEAN:
      return pass_.means_[row];
    case BE_POOLER:
      return pass_.pooled_[row];
  }
  return nullptr;
}

void Pass::Worker::answer(const Head& head, float* out) {
  const Span rows = {0, pass_.rows_of(head), 0};
  const bool dense = head.dense.is_there();
  const auto normed = [&](const float* x, int width, int row) {
    if (!head.norm.is_there()) return x;
    kernels_.layer_norm(x, head.norm.weight, head.norm.bias, width, model_.epsilon, pass_.head_[row]);
    return static_cast<const float*>(pass_.head_[row]);
  };
  for_rows("quantize", rows, [&](int row) {
    const float* x = head_row(head, row);
    if (dense) return prepare(head.dense, x, pass_.input_, rows, row);
    prepare(head.last, normed(x, model_.hidden, row), pass_.input_, rows, row);
  });
  if (dense) {
    Product inner = product(head.dense, pass_.input_, rows, pass_.head_);
    inner.activation = head.activation;
    multiply("dense", inner);
    for_rows("norm", rows, [&](int row) {
      prepare(head.last, normed(pass_.head_[row], head.dense.outputs(), row), pass_.input_, rows, row);
    });
  }
  multiply("logits", product(head.last, pass_.input_, rows, {out, head.last.outputs()}));
}

}  // namespace bertedge
