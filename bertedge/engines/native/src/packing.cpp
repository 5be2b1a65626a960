#include "packing.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <system_error>
#include <thread>

#include "tensors.h"

namespace bertedge {

// A section: `count` outputs from `first` on in its matrix, which become panels from `panel` on.
struct Packer::Piece {
  const be_matrix* matrix;
  int inputs, first, count, panel;

  template <class T>
  WeightView<T> view() const {
    const T* data = static_cast<const T*>(matrix->weight.data);
    const size_t input_stride = matrix->by_output ? 1 : static_cast<size_t>(matrix->outputs);
    const size_t output_stride = matrix->by_output ? static_cast<size_t>(inputs) : 1;
    return {data + output_stride * first, input_stride, output_stride, inputs, count};
  }

  // Pieces with equal descriptions are packed to the same bytes.
  void describe(const be_linear& layer, std::vector<uint64_t>& to) const {
    for (const int32_t number : {inputs, first, count, matrix->outputs, matrix->by_output, matrix->weight.dtype,
                                 layer.terms, layer.outlier_count}) {
      to.push_back(static_cast<uint64_t>(number));
    }
    for (const void* data :
         {matrix->weight.data, matrix->bias.data, matrix->scale.data, matrix->shifts.data, matrix->reciprocals.data,
          matrix->outlier_weight.data, static_cast<const void*>(layer.outliers)}) {
      to.push_back(reinterpret_cast<uintptr_t>(data));
    }
  }
};

namespace {

// Panels whose pages are dropped together.
constexpr int kDropped = 8;

// Adds rows of kPanel weights, or of fewer; returns whether one is -128. Compilers make vectors of loops whose length
// they know.
bool add_rows(const int8_t* row, size_t stride, int rows, int count, int32_t* sums) {
  uint8_t lowest[kPanel] = {};
  for (int r = 0; r < rows; r++, row += stride) {
    int8_t whole[kPanel] = {};
    if (count == kPanel) {
      std::memcpy(whole, row, kPanel);
    } else {
      std::memcpy(whole, row, static_cast<size_t>(count));
    }
    for (int i = 0; i < kPanel; i++) sums[i] += whole[i];
    for (int i = 0; i < kPanel; i++) lowest[i] |= whole[i] == -128;
  }
  return std::any_of(lowest, lowest + kPanel, [](uint8_t found) { return found != 0; });
}

// The sum of each output's weights of a panel. Refuses -128, which is no weight of a bundle: pairs of its products do
// not fit into 16 bits, which some kernels rely on.
void sum_panel(const WeightView<int8_t>& weight, int panel, int32_t* sums) {
  const int first = panel * kPanel, count = std::min(kPanel, weight.outputs - first);
  const int8_t* from = weight.data + first * weight.output_stride;
  std::fill(sums, sums + kPanel, 0);
  bool lowest = false;
  if (weight.output_stride == 1) {
    lowest = add_rows(from, weight.input_stride, weight.inputs, count, sums);
  } else {  // the weights of an output follow one another: they are summed 32 at a time
    for (int i = 0; i < count; i++, from += weight.output_stride) {
      int32_t parts[kPanel] = {};
      const int whole = weight.inputs / kPanel, rest = weight.inputs % kPanel;
      lowest |= add_rows(from, kPanel, whole, kPanel, parts);
      lowest |= add_rows(from + whole * kPanel, kPanel, 1, rest, parts);
      sums[i] = std::accumulate(parts, parts + kPanel, 0);
    }
  }
  if (lowest) refuse_model("a weight is -128, expected -127 to 127");
}

// The factors of a layer's inputs: zero for outliers.
const float* without_outliers(Arena& arena, const Preparation& preparation, int inputs) {
  float* factors = arena.take<float>(inputs);
  for (int i = 0; i < inputs; i++) factors[i] = preparation.reciprocals ? preparation.reciprocals[i] : 1.0f;
  for (int i = 0; i < preparation.outlier_count; i++) factors[preparation.outliers[i]] = 0.0f;
  return factors;
}

// Runs work(begin, end) on shares of the items; an exception of any of them is thrown here.
void in_shares(int items, int threads, const std::function<void(int, int)>& work) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
  const auto share = [&](int t) {
    try {
      work(items * t / threads, items * (t + 1) / threads);
    } catch (...) {
      failures[static_cast<size_t>(t)] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads - 1));
  for (int t = 1; t < threads; t++) {
    try {
      others.emplace_back(share, t);
    } catch (const std::system_error&) {  // the system has no thread left
      share(t);
    }
  }
  share(0);
  for (std::thread& other : others) other.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace

std::pair<const be_matrix*, int> Packer::matrix_of(const std::string& name, const be_linear& layer, int first,
                                                   int count) {
  int start = 0;
  for (int i = 0; i < layer.matrix_count; i++) {
    const be_matrix& matrix = layer.matrices[i];
    checked_size((name + ": outputs of a matrix").c_str(), matrix.outputs, 1, kMostRows);
    if (first >= start && first - start + count <= matrix.outputs) return {&matrix, first - start};
    if (first < start + matrix.outputs) break;
    start += matrix.outputs;
  }
  refuse_model(name + ": no matrix holds the outputs " + std::to_string(first) + " to " +
               std::to_string(first + count - 1));
}

Linear Packer::pack(const std::string& name, const be_linear& layer, int inputs, int outputs) {
  if (layer.outputs == 0) refuse_model(name + " is missing");
  if (layer.inputs != inputs || layer.outputs != outputs) {
    refuse_model(name + " has " + std::to_string(layer.inputs) + " inputs and " + std::to_string(layer.outputs) +
                 " outputs, expected " + std::to_string(inputs) + " and " + std::to_string(outputs));
  }
  return pack(name, layer, {{0, outputs}});
}

Linear Packer::pack(const std::string& name, const be_linear& layer, const Sections& sections) {
  checked_size((name + ": inputs").c_str(), layer.inputs, 1, kMostChannels);
  checked_size((name + ": outputs").c_str(), layer.outputs, 1, kMostRows);
  checked_size((name + ": matrices").c_str(), layer.matrix_count, 1, 16);
  checked_size((name + ": outliers").c_str(), layer.outlier_count, 0, layer.inputs);
  std::vector<Piece> pieces;
  std::vector<uint64_t> key;
  int panels = 0;
  for (const auto& [first, count] : sections) {
    const auto [matrix, offset] = matrix_of(name, layer, first, count);
    check(name, layer, *matrix);
    pieces.push_back({matrix, layer.inputs, offset, count, panels});
    pieces.back().describe(layer, key);
    panels += panels_of(count);
  }
  const auto known = packed_.find(key);
  if (known != packed_.end()) return known->second;
  Linear to;
  to.weights.inputs = layer.inputs;
  to.weights.outputs = sections.size() == 1 ? sections[0].second : panels * kPanel;
  to.terms = layer.terms;
  for (const Piece& piece : pieces) {
    if (piece.matrix->weight.dtype != pieces[0].matrix->weight.dtype)
      refuse_model(name + ": its matrices differ in type");
    pack_vectors(name, layer, piece, to);
    if (piece.matrix->weight.dtype == BE_INT8) {
      pack_int8(piece, to);
    } else {
      pack_float(piece, to);
    }
    if (mapped_) read_.push_back(piece.matrix->weight);
  }
  drop_read();
  packed_[key] = to;
  return to;
}

void Packer::drop_read() const {
  for (const be_tensor& weight : read_) drop_pages(weight.data, weight.bytes);
}

void Packer::check(const std::string& name, const be_linear& layer, const be_matrix& matrix) const {
  const uint64_t inputs = layer.inputs, outputs = matrix.outputs;
  const be_dtype dtype = check_weight(name + ": weight", matrix.weight, inputs * outputs);
  check_tensor(name + ": bias", matrix.bias, BE_FLOAT32, outputs);
  check_finite(name + ": bias", matrix.bias, outputs);
  if (dtype == BE_INT8) {
    check_tensor(name + ": scale", matrix.scale, BE_FLOAT32, outputs);
    check_finite(name + ": scale", matrix.scale, outputs);
    checked_size((name + ": terms").c_str(), layer.terms, 1, 2);
  } else if (layer.outlier_count) {
    refuse_model(name + ": only int8 layers have outliers");
  }
  if (layer.outlier_count) {
    if (!layer.outliers) refuse_model(name + ": the outliers are missing");
    check_tensor(name + ": outlier weight", matrix.outlier_weight, BE_FLOAT16, outputs * layer.outlier_count);
  }
  for (int i = 0; i < layer.outlier_count; i++) {
    const int least = i ? layer.outliers[i - 1] + 1 : 0;
    checked_size((name + ": an outlier").c_str(), layer.outliers[i], least, layer.inputs - 1);
  }
}

void Packer::pack_vectors(const std::string& name, const be_linear& layer, const Piece& piece, Linear& to) {
  const be_matrix& matrix = *piece.matrix;
  PackedWeights& weights = to.weights;
  const size_t padded = static_cast<size_t>(panels_of(weights.outputs)) * kPanel;
  if (piece.panel == 0) {
    Preparation& preparation = to.preparation;
    if (is_there(matrix.shifts)) preparation.shifts = floats(name + ": shifts", matrix.shifts, layer.inputs);
    if (is_there(matrix.reciprocals)) {
      preparation.reciprocals = floats(name + ": reciprocals", matrix.reciprocals, layer.inputs);
    }
    preparation.factors = preparation.reciprocals;
    if (layer.outlier_count) {
      int32_t* outliers = arena_.take<int32_t>(layer.outlier_count);
      std::copy(layer.outliers, layer.outliers + layer.outlier_count, outliers);
      preparation.outliers = outliers;
      preparation.outlier_count = layer.outlier_count;
      preparation.factors = without_outliers(arena_, preparation, layer.inputs);
      weights.outlier_weight = arena_.take<float>(padded * layer.outlier_count);
    }
    weights.bias = arena_.take<float>(padded);
  }
  const size_t at = static_cast<size_t>(piece.panel) * kPanel;
  float* bias = const_cast<float*>(weights.bias) + at;
  for (int i = 0; i < piece.count; i++) bias[i] = value_at<float>(matrix.bias, piece.first + i);
  for (int o = 0; o < layer.outlier_count; o++) {
    float* row = const_cast<float*>(weights.outlier_weight) + padded * o + at;
    const uint64_t from = static_cast<uint64_t>(matrix.outputs) * o + piece.first;
    for (int i = 0; i < piece.count; i++) row[i] = float_at(matrix.outlier_weight, from + i);
  }
}

void Packer::pack_int8(const Piece& piece, Linear& to) {
  PackedWeights& weights = to.weights;
  const size_t panels = static_cast<size_t>(panels_of(weights.outputs)), bytes = int8_panel_bytes(piece.inputs);
  if (!weights.levels) {
    weights.levels = arena_.take<int8_t>(panels * bytes);
    weights.scale = arena_.take<float>(panels * kPanel);
    weights.sums = arena_.take<float>(panels * kPanel);
  }
  const WeightView<int8_t> view = piece.view<int8_t>();
  for_panels(panels_of(piece.count), piece.inputs, [&](int panel) {
    int8_t* levels = const_cast<int8_t*>(weights.levels) + bytes * (piece.panel + panel);
    kernels_.pack(view, panel, levels);
    int32_t sums[kPanel];
    sum_panel(view, panel, sums);
    const size_t at = static_cast<size_t>(piece.panel + panel) * kPanel;
    for (int i = 0; i < std::min(kPanel, piece.count - panel * kPanel); i++) {
      const float scale = value_at<float>(piece.matrix->scale, piece.first + panel * kPanel + i);
      const_cast<float*>(weights.scale)[at + i] = scale;
      const_cast<float*>(weights.sums)[at + i] = scale * static_cast<float>(sums[i]);
    }
    // The table of words is by far the largest matrix: its pages are dropped while it is packed.
    const int first = panel - panel % kDropped;
    if (mapped_ && view.input_stride == 1 && panel % kDropped == kDropped - 1) {
      drop_pages(view.data + view.output_stride * first * kPanel, view.output_stride * kDropped * kPanel);
    }
  });
}

void Packer::pack_float(const Piece& piece, Linear& to) {
  PackedWeights& weights = to.weights;
  const size_t panels = static_cast<size_t>(panels_of(weights.outputs)), size = float_panel_size(piece.inputs);
  if (!weights.values) weights.values = arena_.take<float>(panels * size);
  const be_matrix& matrix = *piece.matrix;
  for_panels(panels_of(piece.count), piece.inputs, [&](int panel) {
    float* values = const_cast<float*>(weights.values) + size * (piece.panel + panel);
    const int first = piece.first + panel * kPanel, count = std::min(kPanel, piece.count - panel * kPanel);
    for (int input = 0; input < piece.inputs; input++, values += kPanel) {
      for (int i = 0; i < count; i++) {
        const uint64_t at = matrix.by_output ? static_cast<uint64_t>(first + i) * piece.inputs + input
                                             : static_cast<uint64_t>(input) * matrix.outputs + first + i;
        values[i] = float_at(matrix.weight, at);
      }
    }
  });
}

const float* Packer::floats(const std::string& what, const be_tensor& tensor, uint64_t count) {
  check_tensor(what, tensor, BE_FLOAT32, count);
  check_finite(what, tensor, count);
  float* copy = arena_.take<float>(count);
  std::memcpy(copy, tensor.data, count * sizeof(float));
  return copy;
}

void Packer::for_panels(int panels, int inputs, const std::function<void(int)>& work) const {
  // A thread takes as long to start as some 50,000 weights to pack.
  const int64_t weights = static_cast<int64_t>(panels) * kPanel * inputs;
  const int threads = static_cast<int>(std::min<int64_t>({threads_, panels, 1 + weights / 200'000}));
  in_shares(panels, threads, [&](int begin, int end) {
    for (int panel = begin; panel < end; panel++) work(panel);
  });
}

}  // namespace bertedge
