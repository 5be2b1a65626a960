// A libFuzzer target: models that are wrong in a few places, and texts that are. Nothing that arrives through the C
// interface may read or write out of bounds, overflow, or take unlimited memory.
//
// The bytes of an input choose a random valid model and then change some of its fields: sizes, counts, types, pointers
// that are null. What the interface cannot check stays true: a pointer that is not null has as many bytes as its tensor
// says, or as many structs as there were.
#include <algorithm>
#include <cstdio>
#include <string>

#include "random_model.h"

using namespace bertedge_test;

namespace {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool left() const { return size_ > 0; }
  uint8_t next() { return size_ ? --size_, *data_++ : 0; }
  uint32_t word() {
    uint32_t value = next();
    for (int i = 0; i < 3; ++i) value = value << 8 | next();
    return value;
  }
  int32_t number() {  // ends of ranges, small numbers, and any
    static const int32_t ends[] = {0, 1, -1, INT32_MAX, INT32_MIN, INT32_MAX - 31, 1 << 16, 1 << 30};
    const uint8_t kind = next();
    if (kind < 8) return ends[kind];
    return kind < 200 ? kind % 100 - 2 : static_cast<int32_t>(word());
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

// Fields of a model that a file may fill with anything.
struct Fields {
  std::vector<int32_t*> numbers;
  std::vector<std::pair<int32_t*, int32_t>> counts;  // of arrays, which have so many entries
  std::vector<be_tensor*> tensors;
  std::vector<float*> floats;

  void add(be_table& table) {
    for (int32_t* field : {&table.rows, &table.columns, &table.exact_count}) numbers.push_back(field);
    for (be_tensor* tensor :
         {&table.values, &table.scale, &table.reciprocals, &table.exact_index, &table.exact_rows, &table.exact_scale}) {
      tensors.push_back(tensor);
    }
  }
  void add(be_norm& norm) { tensors.push_back(&norm.weight), tensors.push_back(&norm.bias); }
  void add(be_linear& linear) {
    for (int32_t* field : {&linear.inputs, &linear.outputs, &linear.terms}) numbers.push_back(field);
    counts.push_back({&linear.matrix_count, linear.matrix_count});
    counts.push_back({&linear.outlier_count, linear.outlier_count});
  }
  void add(be_matrix& matrix) {
    for (int32_t* field : {&matrix.outputs, &matrix.by_output}) numbers.push_back(field);
    for (be_tensor* tensor :
         {&matrix.weight, &matrix.bias, &matrix.scale, &matrix.shifts, &matrix.reciprocals, &matrix.outlier_weight}) {
      tensors.push_back(tensor);
    }
  }
};

Fields fields_of(RandomModel& described) {
  Fields fields;
  be_model& m = described.model;
  for (int32_t* field : {&m.hidden, &m.embedding, &m.attention_heads, &m.intermediate, &m.max_length,
                         &m.position_offset, &m.pre_norm, &m.gated, &m.activation}) {
    fields.numbers.push_back(field);
  }
  fields.counts.push_back({&m.block_count, m.block_count});
  fields.counts.push_back({&m.head_count, m.head_count});
  fields.tensors.push_back(&m.relative_bias);
  fields.floats.push_back(&m.epsilon);
  for (be_table* table : {&m.words, &m.positions, &m.token_types}) fields.add(*table);
  for (be_norm* norm : {&m.embeddings_norm, &m.final_norm}) fields.add(*norm);
  for (be_linear* linear : {&m.projection, &m.pooler}) fields.add(*linear);
  for (be_block& block : described.blocks) {
    for (be_linear* linear : {&block.qkv, &block.attention_output, &block.intermediate, &block.output}) {
      fields.add(*linear);
    }
    for (be_norm* norm : {&block.attention_norm, &block.feed_forward_norm}) fields.add(*norm);
    fields.numbers.push_back(&block.reach), fields.floats.push_back(&block.rope_theta);
  }
  for (be_head& head : described.heads) {
    for (be_linear* linear : {&head.dense, &head.last}) fields.add(*linear);
    fields.add(head.norm);
    fields.numbers.push_back(&head.reads), fields.numbers.push_back(&head.activation);
  }
  for (auto& matrices : described.matrices) {
    for (be_matrix& matrix : matrices) fields.add(matrix);
  }
  for (auto& outliers : described.outliers) {
    for (int32_t& outlier : outliers) fields.numbers.push_back(&outlier);
  }
  return fields;
}

template <class T>
T& one_of(std::vector<T>& values, Bytes& bytes) {
  return values[(bytes.next() << 8 | bytes.next()) % values.size()];
}

void change_tensor(be_tensor& tensor, const be_tensor& other, Bytes& bytes) {
  switch (bytes.next() % 5) {
    case 0:
      tensor.dtype = bytes.number();
      break;
    case 1:
      tensor.data = nullptr;
      break;
    case 2:
      tensor.bytes = std::min<uint64_t>(tensor.bytes, bytes.word() % 4096);
      break;
    case 3:
      tensor = other;
      break;
    default:
      tensor.data = other.data, tensor.bytes = std::min(tensor.bytes, other.bytes);
      break;
  }
}

void change(Fields& fields, std::deque<std::vector<unsigned char>>& storage, Bytes& bytes) {
  switch (bytes.next() % 5) {
    case 0:
      *one_of(fields.numbers, bytes) = bytes.number();
      break;
    case 1: {
      const auto [count, most] = one_of(fields.counts, bytes);
      *count = std::min(bytes.number(), most);
      break;
    }
    case 2:
      change_tensor(*one_of(fields.tensors, bytes), *one_of(fields.tensors, bytes), bytes);
      break;
    case 3: {
      const uint32_t bits = bytes.word();
      std::memcpy(one_of(fields.floats, bytes), &bits, sizeof bits);
      break;
    }
    default: {
      auto& some = storage[bytes.word() % storage.size()];
      if (!some.empty()) some[bytes.word() % some.size()] = bytes.next();
    }
  }
}

void run(be_engine* engine, const be_model& model, Bytes& bytes) {
  const int count = bytes.next() % 4, most = 40;
  std::vector<int32_t> starts{0}, masked;
  for (int i = 0; i < count; ++i) starts.push_back(std::min(starts.back() + bytes.next() % 12, most));
  std::vector<int64_t> ids(most), types(most);
  for (auto& id : ids) id = bytes.next() % 20;
  for (auto& type : types) type = bytes.next() % 2;
  for (int i = bytes.next() % 5; i > 0; --i) masked.push_back(bytes.next() % most);
  std::sort(masked.begin(), masked.end());
  for (int i = bytes.next() % 3; i > 0; --i) {
    switch (bytes.next() % 4) {
      case 0:
        starts[bytes.next() % starts.size()] = std::min(bytes.number(), most);
        break;
      case 1:
        ids[bytes.next() % most] = bytes.number() * int64_t{bytes.number()};
        break;
      case 2:
        types[bytes.next() % most] = bytes.number();
        break;
      default:
        masked.push_back(bytes.number());
    }
  }
  const bool has_types = bytes.next() % 8 != 0;
  const be_texts texts{count,      static_cast<int32_t>(masked.size()), starts.data(),
                       ids.data(), has_types ? types.data() : nullptr,  masked.data()};
  const size_t rows = std::max<size_t>({most, masked.size(), static_cast<size_t>(count)});
  std::vector<float> states(rows * static_cast<size_t>(model.hidden)), pooler(states.size());
  std::vector<std::vector<float>> storage;
  std::vector<float*> heads;
  for (int i = 0; i < model.head_count; ++i) {
    storage.emplace_back(rows * static_cast<size_t>(model.heads[i].last.outputs));
    heads.push_back(bytes.next() % 4 ? storage.back().data() : nullptr);
  }
  const be_outputs outputs{bytes.next() % 4 ? states.data() : nullptr, bytes.next() % 4 ? pooler.data() : nullptr,
                           heads.data()};
  char error[64];
  be_run(engine, &texts, &outputs, bytes.next() % 2, error, sizeof error);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  Random random(bytes.next());
  Structure structure = random_structure(random);
  structure.head_size = std::min(structure.head_size, 24);  // small models are quick
  structure.vocabulary = 20, structure.max_length = 16;
  RandomModel described(random, structure);
  Fields fields = fields_of(described);
  for (int i = bytes.next() % 4; i > 0; --i) change(fields, described.storage, bytes);
  be_engine* engine = nullptr;
  char error[64] = "";
  const int threads = 1 + bytes.next() % 2;
  const int status = be_open(&described.model, threads, "", &engine, error, sizeof error);
  if ((status == BE_OK) != (engine != nullptr) || (status != BE_OK && error[0] == '\0')) std::abort();
  if (!engine) return 0;
  do run(engine, described.model, bytes);
  while (bytes.left());
  be_close(engine);
  return 0;
}
