#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace bertedge {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t rounded(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

Block::~Block() { std::free(data_); }

void* Block::grow(size_t count, size_t size) {
  if (count > (SIZE_MAX - kHugePage) / size) throw std::bad_alloc();
  if (count * size <= bytes_ && data_) return data_;
  const bool huge = count * size >= kHugePage;
  const size_t bytes = rounded(count * size + 1, huge ? 4096 : kLine);
  void* data = nullptr;
  if (posix_memalign(&data, huge ? kHugePage : kLine, bytes)) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (huge) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  std::memset(data, 0, bytes);
  std::free(data_);
  data_ = data;
  bytes_ = bytes;
  return data_;
}

void* Arena::take_bytes(size_t count, size_t size) {
  if (count > (SIZE_MAX - kHugePage) / size) throw std::bad_alloc();
  const size_t bytes = rounded(count * size, kLine);
  if (bytes > left_) {
    const size_t block = bytes > kHugePage ? bytes : kHugePage;
    blocks_.emplace_back();
    next_ = blocks_.back().reserve<char>(block);
    left_ = block;
  }
  void* piece = next_;
  next_ += bytes;
  left_ -= bytes;
  return piece;
}

size_t Arena::bytes() const {
  size_t sum = 0;
  for (const Block& block : blocks_) sum += block.bytes();
  return sum;
}

void drop_pages(const void* data, size_t bytes) {
#ifdef MADV_DONTNEED
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#else
  (void)data, (void)bytes;
#endif
}

}  // namespace bertedge
