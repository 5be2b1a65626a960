// Reading the tensors of a description. Nothing is read before its size is checked.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>

#include "api.h"
#include "refusal.h"

namespace bertedge {

// Limits keep every product of sizes far below 2^63, and int8 sums below 2^31: 255 * 127 * 65536 < 2^31.
constexpr int32_t kMostChannels = 65536;
constexpr int32_t kMostRows = 1 << 26;
constexpr int32_t kMostBlocks = 4096;

[[noreturn]] inline void refuse_model(const std::string& reason) { throw Refusal(BE_BAD_MODEL, reason); }

// A size from the description.
int32_t checked_size(const char* what, int32_t value, int32_t least, int32_t most);

inline bool is_there(const be_tensor& tensor) { return tensor.data != nullptr; }

// Refuses a tensor of another type or size.
void check_tensor(const std::string& what, const be_tensor& tensor, be_dtype dtype, uint64_t count);

// Refuses a tensor that is not float32, float16 or int8, or has another size; returns its type.
be_dtype check_weight(const std::string& what, const be_tensor& tensor, uint64_t count);

// One value; tensors need not be aligned.
template <class T>
inline T value_at(const be_tensor& tensor, uint64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(tensor.data) + index * sizeof(T), sizeof(T));
  return value;
}

// Refuses a float32 tensor with infinities or NaN: every output would be NaN. check_tensor comes first.
void check_finite(const std::string& what, const be_tensor& tensor, uint64_t count);

// IEEE 754 half precision to single.
float half_to_float(uint16_t half);

// A value of a float32 or float16 tensor as float.
inline float float_at(const be_tensor& tensor, uint64_t index) {
  return tensor.dtype == BE_FLOAT16 ? half_to_float(value_at<uint16_t>(tensor, index)) : value_at<float>(tensor, index);
}

}  // namespace bertedge
