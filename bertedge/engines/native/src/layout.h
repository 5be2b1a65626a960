// How weights and activations lie in memory. All kernels share the order of activations; a kernel may order the bytes
// of a weight panel as its instructions read them.
//
// Functions of this file and of kernels.h are static: a kernel's own copy may hold instructions that other CPUs lack,
// and the linker must not give it to the rest of the library.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bertedge {

// Outputs in a panel of weights, inputs in a block, rows in a group: an AMX tile has 16 rows of 64 bytes.
constexpr int kPanel = 32;
constexpr int kBlock = 64;
constexpr int kGroup = 16;

static constexpr int round_up(int value, int step) { return (value + step - 1) / step * step; }
static constexpr int panels_of(int outputs) { return (outputs + kPanel - 1) / kPanel; }
static constexpr int blocks_of(int inputs) { return (inputs + kBlock - 1) / kBlock; }

// int8 activations: groups of rows, [rows / 16][inputs / 64][16][64].
static inline size_t level_place(int row, int input, int blocks) {
  return (static_cast<size_t>(row / kGroup) * blocks + input / kBlock) * (kGroup * kBlock) +
         static_cast<size_t>(row % kGroup) * kBlock + input % kBlock;
}
static inline size_t level_bytes(int rows, int blocks) {
  return static_cast<size_t>(round_up(rows, kGroup)) * blocks * kBlock;
}

// An int8 panel has 32 * 64 bytes for each block of inputs, and then room for what its kernel must know of it; a float
// panel is [inputs][32].
constexpr int kPanelNotes = 192;
static inline size_t int8_panel_bytes(int inputs) {
  return static_cast<size_t>(blocks_of(inputs)) * kBlock * kPanel + kPanelNotes;
}
static inline size_t float_panel_size(int inputs) { return static_cast<size_t>(inputs) * kPanel; }

}  // namespace bertedge
