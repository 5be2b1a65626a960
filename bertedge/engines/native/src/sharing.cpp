#include "sharing.h"

#include <algorithm>
#include <cmath>

namespace bertedge {
namespace {

// Consecutive calls that try one way, and how often a way that may be the fastest gets such a series.
constexpr int kTrialCalls = 5, kTrialSeries = 3;
// The first calls of a series do not count: each core finds its share of the weights in another core's cache.
constexpr int kUncounted = 2;
// A way that takes so much longer than the fastest after two series is tried no more; a call that takes longer by the
// second factor ends its series.
constexpr double kSlower = 1.25, kMuchSlower = 1.5;
// Calls until another way is tried again. Later it is 0.5 % of all calls, which the 99th percentile hides.
constexpr int kFirstRetry = 64, kRetryEvery = 1000;
// Times of a way that are remembered.
constexpr size_t kRemembered = 6;

// The second smallest, since whatever disturbs a call makes it slower: another process, or a thread that slept.
double undisturbed(std::vector<double> values) {
  const auto second = values.begin() + (values.size() > 1);
  std::nth_element(values.begin(), second, values.end());
  return *second;
}

}  // namespace

SharingChoice::Size& SharingChoice::size_of(int tokens) {
  const double index = std::log(static_cast<double>(std::max(tokens, 1))) / std::log(1.25);
  return sizes_[static_cast<size_t>(std::min(index, 63.0))];
}

const SharingChoice::Tried* SharingChoice::best_of(const Size& size) {
  const Tried* best = nullptr;
  for (const Tried& tried : size.tried) {
    if (!tried.latest.empty() && (!best || tried.time < best->time)) best = &tried;
  }
  return best;
}

int SharingChoice::next_trial(const Size& size, int ways) {
  const Tried* best = best_of(size);
  int next = kSharings;
  for (int way = 0; way < ways; way++) {
    const Tried& tried = size.tried[way];
    const bool is_slow = tried.series > 1 && best && tried.time > kSlower * best->time;
    if (is_slow || tried.series >= kTrialSeries) continue;
    if (next == kSharings || tried.series < size.tried[next].series) next = way;
  }
  return next;
}

Sharing SharingChoice::choose(int tokens, bool may_be_alone) {
  std::lock_guard<std::mutex> lock(mutex_);
  Size& size = size_of(tokens);
  if (size.left > 0) {
    size.left--;
    return size.trial;
  }
  const int ways = may_be_alone ? kSharings : kSharings - 1;
  int way = next_trial(size, ways);
  if (way == kSharings) {
    const Tried* best = best_of(size);
    if (!best) return Sharing::kRows;  // all calls so far failed
    const int fastest = static_cast<int>(best - size.tried.data());
    if (size.retry_at == 0) size.retry_at = kFirstRetry;
    if (++size.calls < size.retry_at) return static_cast<Sharing>(fastest);
    size.retry_at += std::min(size.calls, kRetryEvery);
    way = (fastest + 1 + size.tried[fastest].retries++ % (ways - 1)) % ways;
  }
  size.tried[way].series++;
  size.trial = static_cast<Sharing>(way);
  size.left = kTrialCalls - 1;
  return size.trial;
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
  tried.time = undisturbed(tried.latest);
  if (tried.latest.back() > kMuchSlower * best_of(size)->time) size.left = 0;
}

}  // namespace bertedge
