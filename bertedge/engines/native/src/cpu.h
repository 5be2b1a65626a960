// Which kernels this library has, and which of them this CPU runs.
#pragma once
#include <string>

#include "kernels.h"

namespace bertedge {

// All kernels that were compiled, best first, ended by null.
const Kernels* const* all_kernels();

// Why this CPU does not run a kernel; an empty text if it does.
std::string why_not(const Kernels& kernels);

// The kernels of that name, or for an empty name the best that run here. Null if there are none.
const Kernels* find_kernels(const std::string& name);

}  // namespace bertedge
