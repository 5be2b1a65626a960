// Rates of the int8 products of every kernel that this CPU runs, or of those that are named, on one thread. Prints
// JSON: kernel_roofline.py makes tables of it.
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "api.h"
#include "cpu.h"
#include "layout.h"
#include "peaks.h"

namespace {

using namespace bertedge;

// More than the caches of a core and of its neighbours hold.
constexpr size_t kFarBytes = 192u << 20;

struct Shape {
  int inputs, outputs;
};
constexpr Shape kShapes[] = {{256, 256}, {1024, 256}, {768, 768}, {768, 3072}, {3072, 768}};
constexpr int kRows[] = {16, 32, 128, 512};

struct Free {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t(64)); }
};
template <class T>
std::unique_ptr<T[], Free> zeros(size_t count) {
  T* data = static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64)));
  std::memset(data, 0, count * sizeof(T));
  return std::unique_ptr<T[], Free>(data);
}

// A layer of weights from -largest to largest, and rows of levels.
class Layer {
 public:
  Layer(const Kernels& kernels, Shape shape, int largest)
      : kernels_(kernels),
        shape_(shape),
        bytes_(int8_panel_bytes(shape.inputs) * panels_of(shape.outputs)),
        copies_(kFarBytes / bytes_ + 1),
        packed_(zeros<int8_t>(copies_ * bytes_)),
        vectors_(zeros<float>(shape.outputs)),
        rows_(zeros<float>(kMostRows)),
        out_(zeros<float>(static_cast<size_t>(kMostRows) * shape.outputs)),
        levels_(zeros<uint8_t>(level_bytes(kMostRows, blocks_of(shape.inputs)))) {
    std::vector<int8_t> weight(static_cast<size_t>(shape.inputs) * shape.outputs);
    uint32_t random = 1;
    for (int8_t& w : weight) {
      random = random * 1664525 + 1013904223;
      w = static_cast<int8_t>(random % (2 * largest + 1) - largest);
    }
    const size_t size = level_bytes(kMostRows, blocks_of(shape.inputs));
    for (size_t i = 0; i < size; i++) levels_[i] = static_cast<uint8_t>(i * 37);
    const WeightView<int8_t> view = {weight.data(), static_cast<size_t>(shape.outputs), 1, shape.inputs, shape.outputs};
    for (int panel = 0; panel < panels_of(shape.outputs); panel++) {
      kernels.pack(view, panel, packed_.get() + int8_panel_bytes(shape.inputs) * panel);
    }
    for (size_t i = 1; i < copies_; i++) std::memcpy(packed_.get() + i * bytes_, packed_.get(), bytes_);
  }

  double seconds(int rows, bool far) {
    size_t copy = 0;
    return bench::best_seconds([&] {
      multiply(rows, packed_.get() + copy * bytes_);
      copy = far ? (copy + 1) % copies_ : 0;
    });
  }

  size_t bytes() const { return bytes_; }

 private:
  static constexpr int kMostRows = 512;

  void multiply(int rows, const int8_t* packed) {
    PackedWeights weights;
    weights.levels = packed;
    weights.scale = weights.sums = weights.bias = vectors_.get();
    weights.inputs = shape_.inputs;
    weights.outputs = shape_.outputs;
    Product product;
    product.weights = &weights;
    product.panels = panels_of(shape_.outputs);
    product.rows = rows;
    product.levels = {levels_.get(), nullptr, rows_.get(), rows_.get(), nullptr};
    product.out = out_.get();
    product.out_stride = product.out_columns = shape_.outputs;
    Claim claim(product.panels);
    kernels_.int8_product(product, claim);
  }

  const Kernels& kernels_;
  const Shape shape_;
  const size_t bytes_, copies_;
  std::unique_ptr<int8_t[], Free> packed_;
  std::unique_ptr<float[], Free> vectors_, rows_, out_;
  std::unique_ptr<uint8_t[], Free> levels_;
};

void measure(const Kernels& kernels, const char* weights, int largest, bool& first) {
  kernels.begin();
  const bench::Peak peak = bench::peak_of(kernels.name);
  std::printf("%s\n{\"kernel\": \"%s\", \"weights\": \"%s\", \"peak\": %.4g, \"products\": [", first ? "" : ",",
              kernels.name, weights, peak.loop ? bench::peak_macs_a_second(peak) : 0.0);
  const char* separator = "";
  for (const Shape& shape : kShapes) {
    Layer layer(kernels, shape, largest);
    for (int rows : kRows) {
      for (bool far : {false, true}) {
        std::printf("%s\n  {\"inputs\": %d, \"outputs\": %d, \"rows\": %d, \"far\": %s, ", separator, shape.inputs,
                    shape.outputs, rows, far ? "true" : "false");
        std::printf("\"bytes\": %zu, \"seconds\": %.4g}", layer.bytes(), layer.seconds(rows, far));
        separator = ",";
      }
    }
  }
  std::printf("]}");
  first = false;
  kernels.end();
}

// Kernels whose speed depends on the weights: see paired_product.h.
bool has_two_ways(const char* kernel) { return !std::strcmp(kernel, "avx2") || !std::strcmp(kernel, "avx512"); }

bool wanted(const char* name, int count, char** names) {
  for (int i = 1; i < count; i++) {
    if (!std::strcmp(names[i], name)) return true;
  }
  return count == 1 && be_why_not(name)[0] == 0;
}

}  // namespace

int main(int count, char** names) {
  std::printf("{\"hertz\": %.4g, \"bytes_a_second\": %.4g, \"kernels\": [", bench::clock_hertz(),
              bench::bytes_a_second(kFarBytes));
  bool first = true;
  for (const Kernels* const* kernels = all_kernels(); *kernels; kernels++) {
    if (!wanted((*kernels)->name, count, names)) continue;
    measure(**kernels, has_two_ways((*kernels)->name) ? "up to 64" : "", 64, first);
    if (has_two_ways((*kernels)->name)) measure(**kernels, "up to 127", 127, first);
  }
  std::printf("]}\n");
}
