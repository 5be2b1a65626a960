// Memory that kernels read and write: aligned to cache lines, large blocks in huge pages.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bertedge {

constexpr size_t kLine = 64;

// A block that grows, and never keeps its content when it does.
class Block {
 public:
  Block() = default;
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  Block(Block&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr, other.bytes_ = 0; }

  // At least `count` values of type T. New memory is zero; pages that are not touched take no memory. Throws
  // std::bad_alloc.
  template <class T>
  T* reserve(size_t count) {
    return static_cast<T*>(grow(count, sizeof(T)));
  }
  size_t bytes() const { return bytes_; }

 private:
  void* grow(size_t count, size_t size);
  void release();

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Memory that is given out piece by piece and freed as a whole: the packed weights of a model.
class Arena {
 public:
  // Zeros, aligned to cache lines. Throws std::bad_alloc.
  template <class T>
  T* take(size_t count) {
    return static_cast<T*>(take_bytes(count, sizeof(T)));
  }
  // Bytes that were given out.
  size_t bytes() const { return bytes_; }

 private:
  void* take_bytes(size_t count, size_t size);

  std::vector<Block> blocks_;
  char* next_ = nullptr;
  size_t left_ = 0, bytes_ = 0;
};

// Lets the system drop the pages of a mapped file that lie wholly inside these bytes.
void drop_pages(const void* data, size_t bytes);

}  // namespace bertedge
