// Packs the weights of linear layers.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model.h"

namespace bertedge {

// Outputs of a layer that start at a panel of their own: the first one, and how many.
using Sections = std::vector<std::pair<int, int>>;

class Packer {
 public:
  Packer(Arena& arena, const Kernels& kernels, int threads, bool mapped)
      : arena_(arena), kernels_(kernels), threads_(threads), mapped_(mapped) {}

  // These sections of a layer, which must read the same prepared input.
  Linear pack(const std::string& name, const be_linear& layer, const Sections& sections);
  // A whole layer; nothing if it is not there. Refuses other sizes.
  Linear pack(const std::string& name, const be_linear& layer, int inputs, int outputs);

  // Drops the pages of the mapped weights that were packed. Systems map up to 2 MB around a page that is read, so
  // reading a vector, such as a bias, maps weights next to it again.
  void drop_read() const;

  // A copy of a vector of floats.
  const float* floats(const std::string& what, const be_tensor& tensor, uint64_t count);

  // The matrix that holds these outputs, and the first of them in it.
  static std::pair<const be_matrix*, int> matrix_of(const std::string& name, const be_linear& layer, int first,
                                                    int count);

 private:
  struct Piece;  // a section in its matrix

  void check(const std::string& name, const be_linear& layer, const be_matrix& matrix) const;
  void pack_vectors(const std::string& name, const be_linear& layer, const Piece& piece, Linear& to);
  void pack_int8(const Piece& piece, Linear& to);
  void pack_float(const Piece& piece, Linear& to);
  void for_panels(int panels, int inputs, const std::function<void(int)>& work) const;

  Arena& arena_;
  const Kernels& kernels_;
  int threads_;
  bool mapped_;
  std::vector<be_tensor> read_;  // weights that were packed, where they are mapped
  // Blocks that share their layers are packed once: by everything that describes the sections.
  std::map<std::vector<uint64_t>, Linear> packed_;
};

}  // namespace bertedge
