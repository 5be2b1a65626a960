// The forward pass of some texts: embeddings, blocks, heads (Devlin et al. 2019, section 3).
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "api.h"
#include "model.h"
#include "sharing.h"
#include "team.h"

namespace bertedge {

// Memory of a call, kept for the next one.
struct Workspace {
  Block stream, sum, gathered, normed, query, key_value, next_key_value, middle, head, pooled, means, floats;
  Block levels, rest_levels, scale, offset, outliers;
  Block query_floats, query_levels, query_rest_levels, query_scale, query_offset, query_outliers;
  Block scratch;

  size_t bytes() const;
};

// Float rows of one width.
struct Rows {
  float* data = nullptr;
  int stride = 0;

  float* operator[](int row) const { return data + static_cast<size_t>(row) * stride; }
};

// The prepared input of a linear layer: as int8, or as floats.
struct LayerInput {
  QuantizedRows quantized;
  Rows floats;
  int blocks = 0, outliers = 0;  // of the widest layer

  // Where a span's rows start, for a layer with so many terms. Threads may be at different layers, so the width of a
  // layer does not matter.
  QuantizedRows from(int place, int terms) const {
    const size_t row = static_cast<size_t>(place), bytes = row * blocks * kBlock;
    return {quantized.levels + bytes, terms > 1 ? quantized.rest_levels + bytes : nullptr, quantized.scale + row,
            quantized.offset + row, quantized.outliers + row * outliers};
  }
};

// Rows that a thread computes together, and the first of their places among the prepared inputs, where every span
// starts with a new group.
struct Span {
  int begin = 0, end = 0, place = 0;

  int size() const { return end - begin; }
};

// The steps of one call. What it reads while it runs does not change, so a thread that comes too late does no harm.
class Pass : public SharedWork {
 public:
  // Checks the texts, and takes memory from the workspace. Throws Refusal and std::bad_alloc.
  Pass(const Model& model, Workspace& workspace, const be_texts& texts, const be_outputs& outputs, int threads,
       Sharing sharing);

  void work(int self) override;

  // To be called before work: remember the time of each step.
  void time_steps() { timed_ = true; }
  const std::vector<std::pair<std::string, double>>& times() const { return times_; }

 private:
  class Worker;
  friend class Worker;

  static int steps(const Model& model);
  void read_texts(const be_texts& texts);
  void choose_rows();
  void reserve(Workspace& workspace);
  void reserve_inputs(Workspace& workspace, int rows);
  int most_head_rows() const;
  int rows_of(const Head& head) const;
  std::vector<Span> spans_of(int rows) const;

  const Model& model_;
  const int64_t* ids_;
  const int64_t* types_;
  std::vector<int32_t> starts_, masked_;
  int tokens_ = 0, texts_ = 0, longest_ = 0;

  // What is wanted; null: not wanted.
  float* states_out_;
  float* pooler_out_;
  std::vector<float*> heads_out_;
  bool needs_pooler_ = false, needs_means_ = false;

  // The last block computes these tokens, in ascending order; all of them if it is not pruned.
  bool pruned_ = false;
  std::vector<int32_t> kept_;
  std::vector<int32_t> row_of_;       // token -> its row
  std::vector<int32_t> kept_starts_;  // (texts + 1): the first row of each text
  std::vector<int32_t> places_;       // of all tokens in their texts
  std::vector<int32_t> kept_places_;

  Sharing sharing_;
  std::vector<Span> spans_;       // of the tokens; one for each thread if they share rows
  std::vector<Span> last_spans_;  // of the rows of the last block; none if its steps are shared

  Rows stream_, sum_, gathered_, normed_, query_, middle_, head_, pooled_, means_;
  // Of blocks with an even and an odd number: a thread writes those of the next block while others read these.
  Rows key_value_[2];
  LayerInput input_, query_input_;
  float* scratch_ = nullptr;
  size_t scratch_size_ = 0;  // floats, of each thread

  bool timed_ = false;
  std::vector<std::pair<std::string, double>> times_;
};

}  // namespace bertedge
