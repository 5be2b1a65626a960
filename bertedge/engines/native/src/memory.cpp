#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include <sys/mman.h>
#include <unistd.h>

namespace bertedge {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Blocks of an arena. What is left at the end of one is never touched.
constexpr size_t kArenaBlock = size_t{32} << 20;

size_t rounded(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

// Zeros in whole huge pages, from the system. Null if there are none.
void* map_huge(size_t bytes) {
  const size_t all = bytes + kHugePage;
  void* data = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(data);
  char* aligned = reinterpret_cast<char*>(rounded(reinterpret_cast<uintptr_t>(data), kHugePage));
  if (aligned > begin) munmap(begin, static_cast<size_t>(aligned - begin));
  if (aligned + bytes < begin + all) munmap(aligned + bytes, static_cast<size_t>(begin + all - aligned) - bytes);
#ifdef MADV_HUGEPAGE
  madvise(aligned, bytes, MADV_HUGEPAGE);
#endif
  return aligned;
}

}  // namespace

Block::~Block() { release(); }

void Block::release() {
  if (bytes_ >= kHugePage) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
  data_ = nullptr;
  bytes_ = 0;
}

void* Block::grow(size_t count, size_t size) {
  if (count > (SIZE_MAX - kHugePage) / size / 2) throw std::bad_alloc();
  if (count * size <= bytes_ && data_) return data_;
  release();
  const bool huge = count * size >= kHugePage;
  const size_t bytes = huge ? rounded(count * size, kHugePage) : rounded(count * size + 1, kLine);
  void* data = nullptr;
  if (huge) {
    data = map_huge(bytes);
    if (!data) throw std::bad_alloc();
  } else {
    if (posix_memalign(&data, kLine, bytes)) throw std::bad_alloc();
    std::memset(data, 0, bytes);
  }
  data_ = data;
  bytes_ = bytes;
  return data_;
}

void* Arena::take_bytes(size_t count, size_t size) {
  if (count > (SIZE_MAX - kHugePage) / size / 2) throw std::bad_alloc();
  const size_t bytes = rounded(count * size, kLine);
  if (bytes > left_) {
    const size_t block = bytes > kArenaBlock ? bytes : kArenaBlock;
    blocks_.emplace_back();
    next_ = blocks_.back().reserve<char>(block);
    left_ = block;
  }
  void* piece = next_;
  next_ += bytes;
  left_ -= bytes;
  bytes_ += bytes;
  return piece;
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
