// How soon SharingChoice finds the fastest way, with times that this program invents.
#include "sharing.h"

#include <cstdio>
#include <random>

using namespace bertedge;

namespace {

// Of 60 calls, how many took the slowest way; and of the next 20, how many took the fastest.
constexpr int kFirst = 60, kNext = 20;
struct Found {
  int slowest = 0, fastest = 0;
};

Found found(const double (&times)[kSharings], unsigned seed) {
  SharingChoice choice;
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> noise(1.0, 1.1);
  std::uniform_int_distribution<int> disturbed(0, 19);
  int fastest = 0, slowest = 0;
  for (int way = 1; way < kSharings; way++) {
    if (times[way] < times[fastest]) fastest = way;
    if (times[way] > times[slowest]) slowest = way;
  }
  Found result;
  for (int call = 0; call < kFirst + kNext; call++) {
    const int way = static_cast<int>(choice.choose(128, true));
    const double other_process = disturbed(random) == 0 ? 3.0 : 1.0;
    choice.note(128, static_cast<Sharing>(way), times[way] * noise(random) * other_process);
    if (call < kFirst) {
      result.slowest += way == slowest;
    } else {
      result.fastest += way == fastest;
    }
  }
  return result;
}

}  // namespace

int main() {
  constexpr int kTrials = 1000;
  for (int fastest = 0; fastest < kSharings; fastest++) {
    int wrong = 0, slow = 0;
    for (unsigned seed = 0; seed < kTrials; seed++) {
      double times[kSharings] = {2.0, 2.0, 2.0};
      times[fastest] = 1.0, times[(fastest + 1) % kSharings] = 1.3;
      const Found result = found(times, seed);
      wrong += 2 * result.fastest < kNext, slow += result.slowest;
    }
    std::printf("way %d: wrong %d of %d, the slowest in %.1f calls\n", fastest, wrong, kTrials, 1.0 * slow / kTrials);
    if (wrong > kTrials / 10 || slow > 10 * kTrials) return 1;
  }
  // a size whose calls all fail is answered too
  SharingChoice choice;
  for (int call = 0; call < 200; call++) choice.choose(16, call % 2 == 0);
  return 0;
}
