// One thread's way through the steps of a pass.
#pragma once
#include <chrono>
#include <string>

#include "pass.h"

namespace bertedge {

class Pass::Worker {
 public:
  Worker(Pass& pass, int self)
      : pass_(pass),
        model_(pass.model_),
        kernels_(*pass.model_.kernels),
        self_(self),
        scratch_(pass.scratch_ + pass.scratch_size_ * self) {}

  void run();

 private:
  void compute_blocks();
  // Embeddings, and the keys, values and queries of the first block.
  void embed(const Span& span);
  void start_block(int index, const Span& span);
  // All that follows once the keys and values of all rows are there, and the start of the next block.
  void finish_block(int index, const Span& span);
  void gather_queries(int index, const Span& span);
  void rotate(const EncoderBlock& block, const Rows& rows, const std::vector<int32_t>& places, const Span& span);
  void attend(int index, const Span& span);
  void attend_text(const Attention& attention, int text, int head, bool pruned, const Span& span);
  void feed_forward(int index, const Span& span);
  void end_block(int index, const Span& span);
  void pool();
  void average();
  void answer(const Head& head, float* out);

  bool is_last(int index) const { return index + 1 == static_cast<int>(model_.blocks.size()); }
  bool is_pruned(int index) const { return pass_.pruned_ && is_last(index); }
  // Prepares a row of the stream for the keys and values of a block, and if it needs another input, for the query.
  void block_input(int index, const Span& span, int row);
  // The normed row of a pre-norm block's part; a post-norm row is normed already.
  const float* normalized(const Norm& norm, float* row, int index);
  void prepare(const Linear& layer, const float* x, const LayerInput& to, const Span& span, int row);
  const float* head_row(const Head& head, int row) const;
  const Rows& key_value(int index) const { return pass_.key_value_[index % 2]; }
  // What the last block makes lies apart if it is pruned, since other threads may still gather their rows of the
  // stream.
  const Rows& made_by(int index) const { return is_pruned(index) ? pass_.gathered_ : pass_.stream_; }
  // The state of a token after the last block.
  const float* state(int token) const {
    return pass_.pruned_ ? pass_.gathered_[pass_.row_of_[token]] : pass_.stream_[token];
  }

  // The product of a span of prepared rows.
  Product product(const Linear& layer, const LayerInput& input, const Span& span, const Rows& out) const;
  Product product(const Linear& layer, const LayerInput& input, const Span& span, const Rows& out,
                  const Rows& addend) const;
  void multiply(const char* name, const Product* products, int count);
  void multiply(const char* name, const Product& product) { multiply(name, &product, 1); }

  // Calls work(row) for the rows of a span: of all if this thread is alone with them, otherwise of those it claims.
  template <class Work>
  void for_rows(const char* name, const Span& span, Work&& work) {
    if (!shared_) {
      for (int row = span.begin; row < span.end; row++) work(row);
      return note(name);
    }
    const int rows = span.size(), threads = pass_.threads();
    const int chunk = rows >= 16 * threads ? 8 : rows >= 4 * threads ? 2 : 1, items = (rows + chunk - 1) / chunk;
    Claim claim = pass_.claim(step_, items, self_);
    for (int item; (item = claim.next()) >= 0;) {
      const int end = (item + 1) * chunk < rows ? (item + 1) * chunk : rows;
      for (int row = item * chunk; row < end; row++) work(span.begin + row);
    }
    pass_.finish(step_++, items, claim);
    note(name);
  }

  // Calls work(span) for the spans that this thread claims, each alone. Returns when all are done.
  template <class Work>
  void for_spans(const std::vector<Span>& spans, Work&& work) {
    const int count = static_cast<int>(spans.size());
    shared_ = false;
    Claim claim = pass_.claim(step_, count, self_);
    for (int item; (item = claim.next()) >= 0;) work(spans[item]);
    pass_.finish(step_++, count, claim);
    shared_ = true;
    note("wait");
  }

  // Notes the time since the step before.
  void note(const char* name);
  void set_prefix(const char* what, int index);

  Pass& pass_;
  const Model& model_;
  const Kernels& kernels_;
  int self_, step_ = 0;
  bool shared_ = true;  // whether the threads share each step, or this one computes a span alone
  float* scratch_;
  std::string prefix_;  // of the names of steps
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace bertedge
