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
  void embed();
  void block(int index);
  void query_key_value(int index);
  void attend(const EncoderBlock& block, bool pruned);
  void feed_forward(const EncoderBlock& block, int rows);
  void end_block(int index, int rows);
  void pool();
  void average();
  void answer(const Head& head, float* out);

  // Prepares the rows that a block reads.
  void block_input(int index, int row);
  void gather(int index);
  // The normed row of a pre-norm block's part; a post-norm row is normed already.
  const float* normalized(const Norm& norm, float* row, int index);
  void prepare(const Linear& layer, const float* x, const LayerInput& to, int row);
  const float* head_row(const Head& head, int row) const;
  const float* state(int token) const { return pass_.stream_[pass_.pruned_ ? pass_.row_of_[token] : token]; }

  Product product(const Linear& layer, const LayerInput& input, int rows, Rows out) const;
  void multiply(const std::string& name, const Product* products, int count);
  void multiply(const std::string& name, const Product& product) { multiply(name, &product, 1); }

  template <class Work>
  void for_rows(const std::string& name, int rows, Work&& work) {
    const int threads = pass_.threads();
    const int chunk = rows >= 16 * threads ? 8 : rows >= 4 * threads ? 2 : 1, items = (rows + chunk - 1) / chunk;
    Claim claim = pass_.claim(step_, items, self_);
    for (int item; (item = claim.next()) >= 0;) {
      const int end = (item + 1) * chunk < rows ? (item + 1) * chunk : rows;
      for (int row = item * chunk; row < end; row++) work(row);
    }
    pass_.finish(step_++, items, claim);
    note(name);
  }
  // Notes the time since the step before.
  void note(const std::string& name);

  Pass& pass_;
  const Model& model_;
  const Kernels& kernels_;
  int self_, step_ = 0;
  float* scratch_;
  std::string prefix_;  // of the names of steps
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace bertedge
