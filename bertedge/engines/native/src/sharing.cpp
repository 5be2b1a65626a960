#include "sharing.h"

#include <algorithm>
#include <cmath>

namespace bertedge {
namespace {

// Consecutive calls that try one way, and how often each way gets such a series.
constexpr int kTrialCalls = 5, kTrialRounds = 3;
// The first calls of a way do not count: each core finds its share of the weights in another core's cache.
constexpr int kUncounted = 2;
// Later calls from one retry of another way to the next: 0.5 % of all, which the 99th percentile hides.
constexpr int kRetryEvery = 1000;
// Times of a way that are remembered.
constexpr size_t kRemembered = 6;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

SharingChoice::Size& SharingChoice::size_of(int tokens) {
  const double index = std::log(static_cast<double>(std::max(tokens, 1))) / std::log(1.25);
  return sizes_[static_cast<size_t>(std::min(index, 63.0))];
}

Sharing SharingChoice::choose(int tokens, bool may_be_alone) {
  std::lock_guard<std::mutex> lock(mutex_);
  Size& size = size_of(tokens);
  const int ways = may_be_alone ? kSharings : kSharings - 1, call = size.calls++;
  if (call < kTrialCalls * kTrialRounds * ways) return static_cast<Sharing>(call / kTrialCalls % ways);
  int best = -1;
  for (int way = 0; way < ways; way++) {
    const Tried& tried = size.tried[way];
    if (tried.latest.empty()) return static_cast<Sharing>(way);  // its trials are still running in other threads
    if (best < 0 || tried.median < size.tried[best].median) best = way;
  }
  const int retry = call / kRetryEvery;
  if (call % kRetryEvery < kTrialCalls && retry > 0)
    return static_cast<Sharing>((best + 1 + retry % (ways - 1)) % ways);
  return static_cast<Sharing>(best);
}

void SharingChoice::note(int tokens, Sharing sharing, double milliseconds) {
  std::lock_guard<std::mutex> lock(mutex_);
  Size& size = size_of(tokens);
  size.in_a_row = sharing == size.latest ? size.in_a_row + 1 : 1;
  size.latest = sharing;
  if (size.in_a_row <= kUncounted) return;
  Tried& tried = size.tried[static_cast<int>(sharing)];
  if (tried.latest.size() == kRemembered) tried.latest.erase(tried.latest.begin());
  tried.latest.push_back(milliseconds / std::max(tokens, 1));
  tried.median = median(tried.latest);
}

}  // namespace bertedge
