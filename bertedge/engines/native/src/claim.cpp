#include "claim.h"

namespace bertedge {

int Claim::next() {
  if (!taken_) return done_ < count_ ? done_++ : -1;
  for (; offset_ < threads_; offset_++) {
    const int share = self_ + offset_ < threads_ ? self_ + offset_ : self_ + offset_ - threads_;
    const int begin = first(share), size = first(share + 1) - begin;
    std::atomic<int32_t>& taken = taken_[share].value;
    // Looking first keeps the counter from growing without end, and the cache line from being written in vain.
    if (taken.load(std::memory_order_relaxed) >= size) continue;
    const int32_t item = taken.fetch_add(1, std::memory_order_relaxed);
    if (item < size) {
      done_++;
      return begin + item;
    }
  }
  return -1;
}

int Claim::first(int share) const { return static_cast<int>(static_cast<int64_t>(count_) * share / threads_); }

}  // namespace bertedge
