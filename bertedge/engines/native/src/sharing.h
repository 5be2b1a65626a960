// How the threads of an engine share one call.
#pragma once
#include <array>
#include <mutex>
#include <vector>

namespace bertedge {

enum class Sharing : int {
  kPanels,  // every step is shared: threads multiply the same rows with different weights
  kRows,    // each thread takes some rows through a whole block; they wait for each other once a block, for the keys
  kAlone,   // one thread does it all
};
constexpr int kSharings = 3;

// Finds the fastest way of sharing by trying each. What is fastest depends on the size of the call, on the weights, and
// on how long cores of this machine take to hear from each other, so it is measured, for each size of calls. Outputs
// are the same to the bit.
//
// Another process can make a way look slow for a moment. So each is tried at several moments, the median of its latest
// times counts, and the others are tried again now and then.
class SharingChoice {
 public:
  // For a call of so many tokens. `may_be_alone`: whether one thread may try it, which takes long for large calls.
  Sharing choose(int tokens, bool may_be_alone);
  void note(int tokens, Sharing sharing, double milliseconds);

 private:
  struct Tried {
    std::vector<double> latest;  // milliseconds for a token
    double median = 0;           // of these
  };
  struct Size {
    std::array<Tried, kSharings> tried;
    int calls = 0;
    Sharing latest = Sharing::kAlone;
    int in_a_row = 0;  // calls of the latest way
  };
  Size& size_of(int tokens);

  std::mutex mutex_;
  // Guarded by mutex_; each size is a quarter larger than the one before.
  std::vector<Size> sizes_ = std::vector<Size>(64);
};

}  // namespace bertedge
