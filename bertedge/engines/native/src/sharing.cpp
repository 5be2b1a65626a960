#include "sharing.h"

#include <algorithm>
#include <cmath>

namespace bertedge {
namespace {

constexpr int kTrials = 3;
// After so many calls another way is tried again: the machine may be less busy than before.
constexpr int kTryAgain = 256;

}  // namespace

SharingChoice::Size& SharingChoice::size_of(int tokens) {
  const int index = static_cast<int>(std::log(static_cast<double>(std::max(tokens, 1))) / std::log(1.25));
  return sizes_[static_cast<size_t>(std::min(index, 63))];
}

Sharing SharingChoice::choose(int tokens, bool may_be_alone) {
  std::lock_guard<std::mutex> lock(mutex_);
  Size& size = size_of(tokens);
  const int ways = may_be_alone ? kSharings : kSharings - 1;
  size.calls++;
  int best = 0;
  for (int way = 0; way < ways; way++) {
    if (size.tried[way].calls < kTrials) return static_cast<Sharing>(way);
    if (size.tried[way].best < size.tried[best].best) best = way;
  }
  const bool again = size.calls % kTryAgain == 0;
  return static_cast<Sharing>(again ? size.calls / kTryAgain % ways : best);
}

void SharingChoice::note(int tokens, Sharing sharing, double milliseconds) {
  std::lock_guard<std::mutex> lock(mutex_);
  Tried& tried = size_of(tokens).tried[static_cast<int>(sharing)];
  const double each = milliseconds / tokens;
  // The best of all calls would be a stroke of luck some day: older ones count a little less with every new one.
  tried.best = tried.calls++ ? std::min(each, tried.best * 1.005) : each;
}

}  // namespace bertedge
