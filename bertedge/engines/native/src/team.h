// The threads of an engine.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "claim.h"

namespace bertedge {

// Work that several threads do together, step after step. Every thread calls `work`, which goes through the same steps
// in the same order and claims items of each.
class SharedWork {
 public:
  SharedWork(int threads, int steps) : threads_(threads), counters_(static_cast<size_t>(steps) * (threads + 1)) {}
  virtual ~SharedWork() = default;
  virtual void work(int self) = 0;

  int threads() const { return threads_; }

 protected:
  // The items of a step. With one thread there is nothing to count.
  Claim claim(int step, int items, int self) {
    return threads_ == 1 ? Claim(items) : Claim(counters(step), items, threads_, self);
  }
  // Waits until all items of a step are done, whoever did them. It does not wait for threads: one that another process
  // keeps from its core holds up nobody.
  void finish(int step, int items, const Claim& claim);

 private:
  Counter* counters(int step) { return &counters_[static_cast<size_t>(step) * (threads_ + 1)]; }

  int threads_;
  std::vector<Counter> counters_;  // for each step: taken by each thread, and the number of items done
};

// Threads that wait for work. They start with the first work.
class Team {
 public:
  // `threads` includes the calling one.
  explicit Team(int threads) : size_(threads) {}
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Does the work on this thread and those that come; returns when it is done. A thread that comes too late finds no
  // item and touches nothing but the work itself, which it keeps alive. One call at a time.
  void run(const std::shared_ptr<SharedWork>& work);

 private:
  void start();
  void wait_for_work(int self);
  // Lets the others run wherever the calling thread may, but not on the CPU that it runs on now. In a virtual machine a
  // CPU that sleeps looks taken, so Linux wakes threads on the CPU of the one that wakes them, and both share it for
  // milliseconds.
  void keep_apart();

  int size_, cpu_ = -1;  // the CPU that the others keep away from
  std::vector<std::thread> others_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<SharedWork> current_;  // guarded by mutex_
  std::atomic<uint64_t> number_{0};      // of the current work; written under mutex_
  int asleep_ = 0;                       // guarded by mutex_
  bool stopping_ = false;                // guarded by mutex_
};

}  // namespace bertedge
