// How long work takes, at what clock, and how fast memory is read.
#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

namespace bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call of work: the shortest of several rounds. What else the machine does takes longer ones.
template <class Work>
double best_seconds(Work&& work, int rounds = 12, double round_seconds = 0.0025) {
  const auto seconds_of = [&](long calls) {
    const double start = now();
    for (long i = 0; i < calls; i++) work();
    return now() - start;
  };
  long calls = 1;
  work();
  while (seconds_of(calls) < round_seconds / 2) calls *= 2;
  double best = 1e30;
  for (int round = 0; round < rounds; round++) {
    const double seconds = seconds_of(calls) / calls;
    best = seconds < best ? seconds : best;
  }
  return best;
}

// Cycles in a second: additions that wait for one another take one cycle each.
inline double clock_hertz() {
  const long turns = 100000;
  const double seconds = best_seconds([&] {
    uint64_t x = 1;
    for (long i = 0; i < turns; i++) {
#if defined(__x86_64__)
      asm volatile("add %0, %0\nadd %0, %0\nadd %0, %0\nadd %0, %0\nadd %0, %0\nadd %0, %0\nadd %0, %0\nadd %0, %0"
                   : "+r"(x));
#elif defined(__aarch64__)
      asm volatile(
          "add %0, %0, %0\nadd %0, %0, %0\nadd %0, %0, %0\nadd %0, %0, %0\nadd %0, %0, %0\nadd %0, %0, %0\n"
          "add %0, %0, %0\nadd %0, %0, %0"
          : "+r"(x));
#endif
    }
  });
  return 8 * turns / seconds;
}

// Bytes in a second that one thread reads of memory that no cache holds, part after part: the most that any distance of
// prefetching gives.
inline double bytes_a_second(size_t bytes) {
  constexpr size_t kParts = 128;
  const size_t part = bytes / kParts / 64 * 8;  // words
  const std::vector<uint64_t> memory(kParts * part, 1);
  volatile uint64_t sink = 0;
  double best = 1e30;
  for (size_t ahead : {0, 1024, 2048, 8192}) {
    size_t turn = 0;
    const double seconds = best_seconds(
        [&] {
          const uint64_t* from = memory.data() + turn++ % kParts * part;
          uint64_t sums[8] = {};
          for (size_t i = 0; i < part; i += 8) {
            if (ahead) __builtin_prefetch(from + i + ahead, 0, 2);
            for (int k = 0; k < 8; k++) sums[k] += from[i + k];
          }
          for (uint64_t sum : sums) sink = sink + sum;
        },
        40, 0.001);
    best = seconds < best ? seconds : best;
  }
  return part * 8 / best;
}

}  // namespace bench
