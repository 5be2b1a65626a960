#include "pass.h"

#include <algorithm>

#include "refusal.h"

namespace bertedge {
namespace {

constexpr int32_t kMostTokens = 1 << 22;
// With fewer rows for each thread, weights take longer to read than to multiply: then threads share the weights.
constexpr int kFewestRows = 8;

[[noreturn]] void refuse_input(const std::string& reason) { throw Refusal(BE_BAD_INPUT, reason); }

void check_ids(const char* what, const int64_t* ids, int count, int64_t limit) {
  for (int i = 0; i < count; i++) {
    if (ids[i] < 0 || ids[i] >= limit) {
      refuse_input(std::string(what) + " " + std::to_string(ids[i]) + " is out of range, expected 0 to " +
                   std::to_string(limit - 1));
    }
  }
}

}  // namespace

size_t Workspace::bytes() const {
  size_t sum_of_bytes = 0;
  for (const Block* block : {&stream,      &sum,          &gathered,       &normed,
                             &query,       &key_value,    &next_key_value, &middle,
                             &head,        &pooled,       &means,          &floats,
                             &levels,      &rest_levels,  &scale,          &offset,
                             &outliers,    &query_floats, &query_levels,   &query_rest_levels,
                             &query_scale, &query_offset, &query_outliers, &scratch}) {
    sum_of_bytes += block->bytes();
  }
  return sum_of_bytes;
}

Pass::Pass(const Model& model, Workspace& workspace, const be_texts& texts, const be_outputs& outputs, int threads,
           Sharing sharing)
    : SharedWork(threads, steps(model)),
      model_(model),
      ids_(texts.ids),
      types_(texts.types),
      states_out_(outputs.states),
      pooler_out_(model.pooler.is_there() ? outputs.pooler : nullptr),
      sharing_(sharing) {
  read_texts(texts);
  for (size_t i = 0; i < model.outputs.size(); i++) {
    heads_out_.push_back(outputs.heads ? outputs.heads[i] : nullptr);
    if (!heads_out_.back() || rows_of(model.outputs[i]) == 0) {
      heads_out_.back() = nullptr;
      continue;
    }
    needs_pooler_ |= model.outputs[i].reads == BE_POOLER;
    needs_means_ |= model.outputs[i].reads == BE_MEAN;
  }
  needs_pooler_ |= pooler_out_ != nullptr;
  choose_rows();
  if (sharing_ == Sharing::kRows) {
    spans_ = spans_of(tokens_);
    const int rows = pruned_ ? static_cast<int>(kept_.size()) : tokens_;
    if (rows >= kFewestRows * threads) last_spans_ = spans_of(rows);
  }
  reserve(workspace);
}

std::vector<Span> Pass::spans_of(int rows) const {
  std::vector<Span> spans;
  int place = 0;
  for (int t = 0, begin = 0; t < threads() && begin < rows; t++) {
    // Products take eight rows at a time.
    const int share = round_up(static_cast<int>(static_cast<int64_t>(rows) * (t + 1) / threads()), 8);
    const int end = t + 1 == threads() ? rows : std::min(share, rows);
    if (end == begin) continue;
    spans.push_back({begin, end, place});
    place += round_up(end - begin, kGroup);
    begin = end;
  }
  return spans;
}

int Pass::steps(const Model& model) {
  return 12 + 14 * static_cast<int>(model.blocks.size()) + 6 * static_cast<int>(model.outputs.size());
}

void Pass::read_texts(const be_texts& texts) {
  texts_ = texts.count;
  if (texts.count < 1 || texts.count > kMostTokens || !texts.starts || !texts.ids) refuse_input("there is no text");
  if (texts.starts[0] != 0) refuse_input("the first text does not start at 0");
  for (int i = 0; i < texts_; i++) {
    const int64_t length = static_cast<int64_t>(texts.starts[i + 1]) - texts.starts[i];
    if (length < 1 || length > model_.max_length) {
      refuse_input("a text has " + std::to_string(length) + " tokens, expected 1 to " +
                   std::to_string(model_.max_length));
    }
    longest_ = std::max(longest_, static_cast<int>(length));
  }
  tokens_ = texts.starts[texts_];
  if (tokens_ > kMostTokens) refuse_input("there are too many tokens for one call");
  starts_.assign(texts.starts, texts.starts + texts_ + 1);
  check_ids("id", ids_, tokens_, model_.words.rows);
  if (model_.token_types.is_there()) {
    if (!types_) refuse_input("the token types are missing");
    check_ids("token type", types_, tokens_, model_.token_types.rows);
  }
  if (texts.masked_count < 0 || texts.masked_count > kMostTokens || (texts.masked_count && !texts.masked)) {
    refuse_input("the masked tokens are missing");
  }
  masked_.assign(texts.masked, texts.masked + texts.masked_count);
  for (const int32_t token : masked_) {
    if (token < 0 || token >= tokens_) refuse_input("a masked token is out of range");
  }
  places_.resize(tokens_);
  for (int text = 0; text < texts_; text++) {
    for (int token = starts_[text]; token < starts_[text + 1]; token++) places_[token] = token - starts_[text];
  }
}

int Pass::rows_of(const Head& head) const {
  if (head.reads == BE_EVERY) return tokens_;
  return head.reads == BE_MASKED ? static_cast<int>(masked_.size()) : texts_;
}

void Pass::choose_rows() {
  bool all = states_out_ != nullptr, masked = false, first = needs_pooler_;
  for (size_t i = 0; i < heads_out_.size(); i++) {
    if (!heads_out_[i]) continue;
    const be_reads reads = model_.outputs[i].reads;
    all |= reads == BE_EVERY || reads == BE_MEAN;
    masked |= reads == BE_MASKED;
    first |= reads == BE_FIRST;
  }
  if (all) return;
  std::vector<char> kept(tokens_, 0);
  if (masked) {
    for (const int32_t token : masked_) kept[token] = 1;
  }
  if (first) {
    for (int text = 0; text < texts_; text++) kept[starts_[text]] = 1;
  }
  row_of_.assign(tokens_, -1);
  for (int text = 0; text < texts_; text++) {
    kept_starts_.push_back(static_cast<int32_t>(kept_.size()));
    for (int token = starts_[text]; token < starts_[text + 1]; token++) {
      if (!kept[token]) continue;
      row_of_[token] = static_cast<int32_t>(kept_.size());
      kept_.push_back(token);
      kept_places_.push_back(places_[token]);
    }
  }
  kept_starts_.push_back(static_cast<int32_t>(kept_.size()));
  pruned_ = static_cast<int>(kept_.size()) < tokens_;
}

int Pass::most_head_rows() const { return std::max({tokens_, static_cast<int>(masked_.size()), texts_}); }

void Pass::reserve(Workspace& w) {
  const auto rows = [](Block& block, int count, int width) {
    const int stride = round_up(width, kPanel);
    return Rows{block.reserve<float>(static_cast<size_t>(count) * stride), stride};
  };
  const int hidden = round_up(model_.hidden, kPanel), widest = std::max(model_.hidden, model_.embedding);
  stream_ = rows(w.stream, tokens_, widest);
  sum_ = rows(w.sum, tokens_, hidden);
  normed_ = rows(w.normed, tokens_, widest);
  query_ = rows(w.query, tokens_, hidden);
  key_value_[0] = rows(w.key_value, tokens_, 2 * hidden);
  key_value_[1] = sharing_ == Sharing::kRows ? rows(w.next_key_value, tokens_, 2 * hidden) : key_value_[0];
  middle_ = rows(w.middle, tokens_, round_up(model_.intermediate, kPanel) * (model_.gated ? 2 : 1));
  if (pruned_) gathered_ = rows(w.gathered, static_cast<int>(kept_.size()), hidden);
  if (needs_pooler_) {
    pooled_ = pooler_out_ ? Rows{pooler_out_, model_.hidden} : rows(w.pooled, texts_, hidden);
  }
  if (needs_means_) means_ = rows(w.means, texts_, hidden);
  int head_width = model_.hidden;
  for (const Head& head : model_.outputs) head_width = std::max(head_width, head.dense.outputs());
  head_ = rows(w.head, model_.outputs.empty() ? 0 : most_head_rows(), head_width);
  reserve_inputs(w, most_head_rows() + kGroup * threads());
}

void Pass::reserve_inputs(Workspace& w, int rows) {
  const auto [inputs, float_inputs, outliers, terms] = model_.most;
  const auto take = [&](LayerInput& to, Block& levels, Block& rest, Block& scale, Block& offset, Block& outlier,
                        Block& floats) {
    to.quantized.levels = levels.reserve<uint8_t>(level_bytes(rows, blocks_of(inputs)));
    if (terms > 1) to.quantized.rest_levels = rest.reserve<uint8_t>(level_bytes(rows, blocks_of(inputs)));
    to.quantized.scale = scale.reserve<float>(rows);
    to.quantized.offset = offset.reserve<float>(rows);
    to.quantized.outliers = outlier.reserve<float>(static_cast<size_t>(rows) * outliers);
    to.blocks = blocks_of(inputs);
    to.outliers = outliers;
    to.floats = {floats.reserve<float>(static_cast<size_t>(rows) * float_inputs), float_inputs};
  };
  take(input_, w.levels, w.rest_levels, w.scale, w.offset, w.outliers, w.floats);
  take(query_input_, w.query_levels, w.query_rest_levels, w.query_scale, w.query_offset, w.query_outliers,
       w.query_floats);
  scratch_size_ = model_.kernels->attention_scratch(longest_, model_.head_size());
  scratch_size_ = (scratch_size_ + 31) / 16 * 16;  // threads do not share a cache line
  scratch_ = w.scratch.reserve<float>(scratch_size_ * threads());
}

}  // namespace bertedge
