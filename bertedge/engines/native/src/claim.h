// Which thread does which item of a step.
#pragma once
#include <atomic>
#include <cstdint>

namespace bertedge {

// The counters of one step: how many items of each thread's share are taken, and how many items are done.
struct alignas(64) Counter {
  std::atomic<int32_t> value{0};
};

// The items [0, count) of one step, as one thread claims them: first those of its own share, then what others have
// left. A thread has the same share in every call, so the weights it reads stay in its core's cache.
class Claim {
 public:
  // All items for one thread.
  explicit Claim(int count) : count_(count) {}
  // `taken` has a counter for each thread.
  Claim(Counter* taken, int count, int threads, int self)
      : taken_(taken), count_(count), threads_(threads), self_(self) {}

  // The next item, or -1 if none is left.
  int next();

  // Items that this thread has claimed.
  int claimed() const { return done_; }

 private:
  int first(int share) const;

  Counter* taken_ = nullptr;
  int count_, threads_ = 1, self_ = 0, offset_ = 0, done_ = 0;
};

}  // namespace bertedge
