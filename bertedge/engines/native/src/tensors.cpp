#include "tensors.h"

namespace bertedge {

int32_t checked_size(const char* what, int32_t value, int32_t least, int32_t most) {
  if (value < least || value > most) {
    refuse_model(std::string(what) + " is " + std::to_string(value) + ", expected " + std::to_string(least) + " to " +
                 std::to_string(most));
  }
  return value;
}

void check_tensor(const std::string& what, const be_tensor& tensor, be_dtype dtype, uint64_t count) {
  static const char* const kNames[] = {"float32", "float16", "int8", "uint8"};
  static const uint64_t kBytes[] = {4, 2, 1, 1};
  if (!is_there(tensor)) refuse_model(what + " is missing");
  if (tensor.dtype != dtype) refuse_model(what + " is not " + kNames[dtype]);
  if (tensor.bytes != count * kBytes[dtype]) {
    refuse_model(what + " has " + std::to_string(tensor.bytes) + " bytes, expected " +
                 std::to_string(count * kBytes[dtype]));
  }
}

be_dtype check_weight(const std::string& what, const be_tensor& tensor, uint64_t count) {
  for (const be_dtype dtype : {BE_FLOAT32, BE_FLOAT16, BE_INT8}) {
    if (tensor.dtype != dtype) continue;
    check_tensor(what, tensor, dtype, count);
    return dtype;
  }
  refuse_model(what + " is not float32, float16 or int8");
}

void check_finite(const std::string& what, const be_tensor& tensor, uint64_t count) {
  constexpr uint32_t kExponent = 0x7f800000;
  bool all = true;
  for (uint64_t i = 0; i < count; i++) all &= (value_at<uint32_t>(tensor, i) & kExponent) != kExponent;
  if (!all) refuse_model(what + " has values that are not finite");
}

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  uint32_t bits;
  if (exponent == 0) {  // zero, or a subnormal number: fraction * 2^-24
    const float value = static_cast<float>(fraction) * (1.0f / 16777216.0f);
    std::memcpy(&bits, &value, sizeof bits);
  } else if (exponent == 31) {
    bits = 0x7f800000 | fraction << 13;
  } else {
    bits = (exponent + 112) << 23 | fraction << 13;
  }
  bits |= sign;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace bertedge
