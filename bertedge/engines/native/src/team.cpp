#include "team.h"

#include <chrono>
#include <system_error>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bertedge {
namespace {

// How long a thread looks for the next work before it sleeps. Waking it takes about as long.
constexpr std::chrono::microseconds kPatience{60};
// Looks at a counter before the core is offered to other threads.
constexpr int kLooks = 2000;

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void SharedWork::finish(int step, int items, const Claim& claim) {
  if (threads_ == 1) return;
  std::atomic<int32_t>& done = counters(step)[threads_].value;
  // Releases what this thread wrote, and acquires what the others wrote.
  if (claim.claimed()) done.fetch_add(claim.claimed(), std::memory_order_acq_rel);
  for (int look = 0; done.load(std::memory_order_acquire) < items; look++) {
    if (look < kLooks) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

Team::~Team() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    number_.fetch_add(1, std::memory_order_release);
  }
  changed_.notify_all();
  for (std::thread& other : others_) other.join();
}

void Team::start() {
  others_.reserve(static_cast<size_t>(size_ - 1));
  for (int self = 1; self < size_; self++) {
    try {
      others_.emplace_back([this, self] { wait_for_work(self); });
    } catch (const std::system_error&) {
      return;  // the system has no thread left; a step needs no particular thread
    }
  }
}

void Team::keep_apart() {
#if defined(__linux__)
  const int cpu = sched_getcpu();
  if (cpu == cpu_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  CPU_CLR(cpu, &allowed);
  for (std::thread& other : others_) pthread_setaffinity_np(other.native_handle(), sizeof allowed, &allowed);
  cpu_ = cpu;
#endif
}

void Team::run(const std::shared_ptr<SharedWork>& work) {
  if (others_.empty() && size_ > 1) start();
  keep_apart();
  bool wake;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    current_ = work;
    number_.fetch_add(1, std::memory_order_release);
    wake = asleep_ > 0;
  }
  if (wake) changed_.notify_all();
  work->work(0);
  std::lock_guard<std::mutex> lock(mutex_);
  current_.reset();
}

void Team::wait_for_work(int self) {
  uint64_t seen = 0;
  for (;;) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    for (int look = 1; number_.load(std::memory_order_acquire) == seen; look++) {
      pause();
      if (look % 64 == 0 && std::chrono::steady_clock::now() > until) break;
    }
    std::shared_ptr<SharedWork> work;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_++;
      changed_.wait(lock, [&] { return number_.load(std::memory_order_relaxed) != seen; });
      asleep_--;
      if (stopping_) return;
      seen = number_.load(std::memory_order_relaxed);
      work = current_;
    }
    if (work) work->work(self);
  }
}

}  // namespace bertedge
