// How the threads of an engine share one call.
#pragma once
#include <array>
#include <mutex>
#include <vector>

namespace bertedge {

enum class Sharing : int {
  kRows,    // each thread takes some rows through a whole block; they wait for each other once a block, for the keys
  kPanels,  // every step is shared: threads multiply the same rows with different weights
  kAlone,   // one thread does it all
};
constexpr int kSharings = 3;

// Finds the fastest way of sharing by trying each. What is fastest depends on the size of the call, on the weights, and
// on how long cores of this machine take to hear from each other, so it is measured, for each size of calls. Outputs
// are the same to the bit.
//
// Another process can make a way look slow for a moment. So ways that are nearly as fast as the best are tried at
// several moments, the second smallest of a way's latest times counts, and the others are tried again now and then. A
// way that is clearly slower is given up soon: a large call takes long.
class SharingChoice {
 public:
  // For a call of so many tokens. `may_be_alone`: whether one thread may try it, which takes long for large calls. The
  // caller tells the time by `note` before it asks again.
  Sharing choose(int tokens, bool may_be_alone);
  void note(int tokens, Sharing sharing, double milliseconds);

 private:
  struct Tried {
    std::vector<double> latest;  // milliseconds for a token
    double time = 0;             // of these, where nothing disturbed it
    int series = 0;              // series of calls that tried it
    int retries = 0;             // of other ways, while this one was the fastest
  };
  struct Size {
    std::array<Tried, kSharings> tried;
    Sharing trial{};   // the way that is tried
    int left = 0;      // calls of its series that are left
    Sharing latest{};  // the way of the latest call
    int in_a_row = 0;  // calls of that way
    int calls = 0;     // after the trials
    int retry_at = 0;  // the one of these at which another way is tried again
  };
  Size& size_of(int tokens);
  // The fastest way so far; null before any was timed.
  static const Tried* best_of(const Size& size);
  // The next way to try; kSharings if all were tried enough.
  static int next_trial(const Size& size, int ways);

  std::mutex mutex_;
  // Guarded by mutex_; each size is a quarter larger than the one before.
  std::vector<Size> sizes_ = std::vector<Size>(64);
};

}  // namespace bertedge
