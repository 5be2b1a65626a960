// AMX: 16 rows times 16 outputs times 64 inputs in one instruction. All else as AVX-512.
#include "simd_avx512.h"

#include "int8_product.h"
#include "tile_attention.h"

namespace bertedge {
namespace {

// Rows at a time: two groups times two halves of a panel are four tiles of sums, so each tile that is loaded is
// multiplied twice.
constexpr int kTwoGroups = 2 * kGroup;
// Rows that share the loads of their outliers' weights.
constexpr int kOutlierRows = 4;

constexpr size_t kLevelTile = kGroup * kBlock, kWeightTile = kPanel * kBlock / 2, kSumStride = kPanel * sizeof(int32_t);

// Sums of two groups of rows, [32][32]; `meanwhile` is called once for each block of inputs.
template <class Meanwhile>
inline void multiply_two_groups(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums,
                                Meanwhile&& meanwhile) {
  const uint8_t* second = levels + blocks * kLevelTile;
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
  for (int b = 0; b < blocks; b++, weights += 2 * kWeightTile) {
    tile_load<6>(weights, kTileBytes);
    tile_load<4>(levels + b * kLevelTile, kTileBytes);
    tile_dot_bytes<0, 4, 6>();
    tile_load<7>(weights + kWeightTile, kTileBytes);
    tile_dot_bytes<1, 4, 7>();
    tile_load<5>(second + b * kLevelTile, kTileBytes);
    tile_dot_bytes<2, 5, 6>();
    tile_dot_bytes<3, 5, 7>();
    meanwhile();
  }
  tile_store<0>(sums, kSumStride);
  tile_store<1>(sums + kPanel / 2, kSumStride);
  tile_store<2>(sums + kGroup * kPanel, kSumStride);
  tile_store<3>(sums + kGroup * kPanel + kPanel / 2, kSumStride);
}

// Sums of one group. A product takes three times as long to finish as to start, so every second block has sums of its
// own; `sums` has room for them, too.
template <class Meanwhile>
inline void multiply_group(const uint8_t* levels, const int8_t* weights, int blocks, int32_t* sums,
                           Meanwhile&& meanwhile) {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
  for (int b = 0; b < blocks; b++, weights += 2 * kWeightTile) {
    tile_load<6>(weights, kTileBytes);
    tile_load<7>(weights + kWeightTile, kTileBytes);
    tile_load<4>(levels + b * kLevelTile, kTileBytes);
    if (b % 2 == 0) {
      tile_dot_bytes<0, 4, 6>();
      tile_dot_bytes<1, 4, 7>();
    } else {
      tile_dot_bytes<2, 4, 6>();
      tile_dot_bytes<3, 4, 7>();
    }
    meanwhile();
  }
  int32_t* odd = sums + kGroup * kPanel;
  tile_store<0>(sums, kSumStride);
  tile_store<1>(sums + kPanel / 2, kSumStride);
  tile_store<2>(odd, kSumStride);
  tile_store<3>(odd + kPanel / 2, kSumStride);
  for (int i = 0; i < kGroup * kPanel; i += kWidth) {
    _mm512_store_si512(sums + i, _mm512_add_epi32(load_ints(sums + i), load_ints(odd + i)));
  }
}

// The products that one thread claims. What follows the products of some rows, scales and activations, is computed
// while the tiles multiply the next rows: both kinds of instructions run side by side.
template <Activation A, bool kRest>
class TileProduct {
 public:
  explicit TileProduct(const Product& product) : p_(product), blocks_(blocks_of(product.weights->inputs)) {}

  void multiply(const ItemRows& part) {
    const size_t bytes = int8_panel_bytes(p_.weights->inputs);
    const int panel = p_.first_panel + part.panel, passes = (part.end - part.begin + kTwoGroups - 1) / kTwoGroups;
    const int8_t* weights = p_.weights->levels + bytes * panel;
    Ahead ahead(weights + bytes, bytes, passes > 0 ? passes * steps() : 1);
    for (int row = part.begin; row < part.end; row += kTwoGroups) {
      const int rows = part.end - row < kTwoGroups ? part.end - row : kTwoGroups;
      multiply_rows(weights, row, rows > kGroup, ahead);
      finish(kTwoGroups);
      waiting_ = {row, rows, panel, 0};
      turn_ ^= 1;
    }
  }

  void finish() { finish(kTwoGroups); }

 private:
  // Rows whose products are in sums_[turn_ ^ 1], and how many of them are finished.
  struct Waiting {
    int row = 0, rows = 0, panel = 0, finished = 0;
  };

  int steps() const { return kRest ? 2 * blocks_ : blocks_; }

  void multiply_rows(const int8_t* weights, int row, bool two_groups, Ahead& ahead) {
    int step = 0;
    const auto meanwhile = [&] {
      ahead.fetch();
      finish(kTwoGroups * ++step / steps());
    };
    const auto multiply = [&](const uint8_t* levels, int32_t* sums) {
      levels += level_place(row, 0, blocks_);
      if (two_groups) return multiply_two_groups(levels, weights, blocks_, sums, meanwhile);
      multiply_group(levels, weights, blocks_, sums, meanwhile);
    };
    multiply(p_.levels.levels, sums_[turn_][0]);
    if (kRest) multiply(p_.levels.rest_levels, sums_[turn_][kRest]);
  }

  // Finishes rows until `count` of them are.
  void finish(int count) {
    const int end = count < waiting_.rows ? count : waiting_.rows;
    while (waiting_.finished < end) {
      const int left = end - waiting_.finished;
      finish_some(left < kOutlierRows ? left : kOutlierRows);
    }
  }

  void finish_some(int rows) {
    alignas(64) float outliers[kOutlierRows * kPanel];
    const auto& sums = sums_[turn_ ^ 1];
    const int first = waiting_.finished;
    if (p_.outlier_count) {
      with_rows<kOutlierRows>(rows, [&](auto some) {
        outlier_sums<decltype(some)::value>(p_, waiting_.row + first, waiting_.panel, outliers);
      });
    }
    const int at = first * kPanel;
    finish_rows<A>({&p_, waiting_.row + first, waiting_.panel}, rows,
                   {sums[0] + at, kRest ? sums[kRest] + at : nullptr, p_.outlier_count ? outliers : nullptr});
    waiting_.finished += rows;
  }

  const Product& p_;
  const int blocks_;
  int turn_ = 0;
  Waiting waiting_;
  alignas(64) int32_t sums_[2][kRest ? 2 : 1][kTwoGroups * kPanel];
};

template <Activation A, bool kRest>
void multiply_claimed(const Product& product, Claim& claim) {
  TileProduct<A, kRest> work(product);
  for (int item; (item = claim.next()) >= 0;) work.multiply(item_rows(product, item));
  work.finish();
}

void tile_product(const Product& product, Claim& claim) {
  with_activation(product.activation, [&](auto which) {
    constexpr Activation kWhich = decltype(which)::value;
    if (product.levels.rest_levels) return multiply_claimed<kWhich, true>(product, claim);
    multiply_claimed<kWhich, false>(product, claim);
  });
}

}  // namespace

extern const Kernels kKernelsAmx;
const Kernels kKernelsAmx = {
    "amx",      configure_tiles, release_tiles, pack_quads, tile_product, float_product,  add_bytes,
    layer_norm, prepare,         quantize,      activate,   rotate,       tile_attention, tile_attention_scratch};

}  // namespace bertedge
