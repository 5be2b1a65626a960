// What all checks of kernels need: memory, random numbers, and a count of what was wrong.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "kernels.h"
#include "layout.h"

namespace checks {

using namespace bertedge;

// Memory that starts at a cache line, and ends where it ends: sanitizers see every access outside.
template <class T>
class Array {
 public:
  explicit Array(size_t size, T value = T()) : size_(size), data_(new(std::align_val_t(64)) T[size ? size : 1]) {
    for (size_t i = 0; i < size; i++) data_[i] = value;
  }
  Array(const Array& other) : Array(other.size_) { std::memcpy(data_, other.data_, size_ * sizeof(T)); }
  Array& operator=(const Array&) = delete;
  ~Array() { ::operator delete[](data_, std::align_val_t(64)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  bool operator==(const Array& other) const {
    return size_ == other.size_ && std::memcmp(data_, other.data_, size_ * sizeof(T)) == 0;
  }

 private:
  size_t size_;
  T* data_;
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  // From low to high, both included.
  int whole(int low, int high) { return low + static_cast<int>(engine_() % static_cast<unsigned>(high - low + 1)); }
  float real(float low, float high) { return low + (high - low) * (static_cast<float>(engine_() >> 8) / 16777216.0f); }
  Array<float> reals(size_t size, float low = -1, float high = 1) {
    Array<float> to(size);
    for (size_t i = 0; i < size; i++) to[i] = real(low, high);
    return to;
  }

 private:
  std::mt19937 engine_;
};

// The kernels under test, and what was wrong with them.
class Checker {
 public:
  explicit Checker(const Kernels& kernels) : kernels(kernels) {}
  const Kernels& kernels;

  // The first wrong values are printed, with the place that was set last.
  void place(const std::string& place) { place_ = place; }
  void equal(double value, double expected, size_t index) {
    count_++;
    if (value == expected || (std::isnan(value) && std::isnan(expected))) return;
    wrong(value, expected, index);
  }
  void near(double value, double expected, double most, size_t index) {
    count_++;
    if (std::fabs(value - expected) <= most) return;
    wrong(value, expected, index);
  }
  void that(bool right, const char* what) {
    count_++;
    if (right) return;
    if (wrong_++ < 10) std::printf("%s: %s: not so: %s\n", kernels.name, place_.c_str(), what);
  }

  // One line about all checks; whether all were right.
  bool report() const {
    std::printf("%s: %ld of %ld checks failed\n", kernels.name, wrong_, count_);
    return wrong_ == 0 && count_ > 0;
  }

 private:
  void wrong(double value, double expected, size_t index) {
    if (wrong_++ < 10) {
      std::printf("%s: %s: [%zu] is %.9g, not %.9g\n", kernels.name, place_.c_str(), index, value, expected);
    }
  }

  std::string place_;
  long count_ = 0, wrong_ = 0;
};

inline std::string text(const char* what, std::initializer_list<int> numbers) {
  std::string all = what;
  for (int number : numbers) all += " " + std::to_string(number);
  return all;
}

// As doubles, from the definitions.
inline double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kIdentity:
      break;
  }
  return x;
}
constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kGelu, Activation::kGeluTanh,
                                       Activation::kRelu,     Activation::kSilu, Activation::kTanh};

// Distance from the exact value that a float32 activation may have: of values as large as x.
inline double activation_error(double x) { return 4e-7 * (1 + std::fabs(x)); }

// Runs the items of a product on some threads, one after another.
inline void run_items(void (*work)(const Product&, Claim&), const Product& product, int threads = 1) {
  const int items = product.panels * product.row_parts;
  if (threads == 1) {
    Claim claim(items);
    work(product, claim);
    return;
  }
  std::vector<Counter> taken(threads);
  for (int self = threads - 1; self >= 0; self--) {
    Claim claim(taken.data(), items, threads, self);
    work(product, claim);
  }
}

}  // namespace checks
