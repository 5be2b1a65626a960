#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace bertedge {

extern const Kernels kKernelsAmx, kKernelsAvx512Vnni, kKernelsAvx512, kKernelsAvxVnni, kKernelsAvx2;
extern const Kernels kKernelsNeonI8mm, kKernelsNeonDotprod, kKernelsNeon;

namespace {

// What a CPU lacks for a kernel, in a few words; empty if it lacks nothing.
using Check = std::string (*)();

#if defined(__x86_64__)

struct Features {
  bool avx2, avx512, avx512_vnni, avx_vnni, amx;
};

// The registers that the system saves for a thread (XCR0); without its help a CPU's feature is of no use.
uint64_t saved_registers() {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE)) return 0;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

Features read_features() {
  Features f = {};
  const uint64_t saved = saved_registers();
  uint32_t eax, ebx, ecx, edx, eax1 = 0, unused;
  if ((saved & 0x6) != 0x6 || !__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return f;
  const bool fma = ecx & bit_FMA, half = ecx & bit_F16C;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return f;
  if (eax >= 1) __get_cpuid_count(7, 1, &eax1, &unused, &unused, &unused);
  f.avx2 = (ebx & bit_AVX2) && fma && half;
  const uint32_t needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  f.avx512 = f.avx2 && (ebx & needed) == needed && (saved & 0xe0) == 0xe0;
  f.avx512_vnni = f.avx512 && (ecx >> 11 & 1);
  f.avx_vnni = f.avx2 && (eax1 >> 4 & 1);
  const bool tiles = edx >> 24 & 1, bytes = edx >> 25 & 1, halves = edx >> 22 & 1;
  f.amx = f.avx512_vnni && tiles && bytes && halves && (saved & 0x60000) == 0x60000;
  return f;
}

const Features& features() {
  static const Features found = read_features();
  return found;
}

// Linux lets a process use tiles after it has asked for them.
[[maybe_unused]] bool tiles_are_granted() {
#if defined(__linux__)
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

[[maybe_unused]] std::string lacks_amx() {
#if defined(BERTEDGE_EMULATE_AMX)  // a test has a handler for the instructions
  return features().avx512_vnni ? "" : "this CPU has no AVX512-VNNI";
#else
  if (!features().amx) return "this CPU has no AMX";
  return tiles_are_granted() ? "" : "the system does not grant AMX to this process";
#endif
}
[[maybe_unused]] std::string lacks_avx512_vnni() { return features().avx512_vnni ? "" : "this CPU has no AVX512-VNNI"; }
[[maybe_unused]] std::string lacks_avx512() { return features().avx512 ? "" : "this CPU has no AVX512"; }
[[maybe_unused]] std::string lacks_avx_vnni() { return features().avx_vnni ? "" : "this CPU has no AVX-VNNI"; }
[[maybe_unused]] std::string lacks_avx2() { return features().avx2 ? "" : "this CPU has no AVX2, FMA and F16C"; }

#elif defined(__aarch64__)

bool has(unsigned long capability, unsigned long capability2, const char* sysctl_name) {
#if defined(__linux__)
  (void)sysctl_name;
  return capability ? (getauxval(AT_HWCAP) & capability) != 0 : (getauxval(AT_HWCAP2) & capability2) != 0;
#elif defined(__APPLE__)
  (void)capability, (void)capability2;
  int32_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(sysctl_name, &value, &size, nullptr, 0) == 0 && value != 0;
#else
  (void)capability, (void)capability2, (void)sysctl_name;
  return false;
#endif
}

constexpr unsigned long kDotprod = 1ul << 20, kI8mm = 1ul << 13;  // HWCAP_ASIMDDP, HWCAP2_I8MM

[[maybe_unused]] std::string lacks_dotprod() {
  return has(kDotprod, 0, "hw.optional.arm.FEAT_DotProd") ? "" : "this CPU has no dot products";
}
[[maybe_unused]] std::string lacks_i8mm() {
  if (!has(kDotprod, 0, "hw.optional.arm.FEAT_DotProd")) return "this CPU has no dot products";
  return has(0, kI8mm, "hw.optional.arm.FEAT_I8MM") ? "" : "this CPU has no products of int8 matrices";
}
[[maybe_unused]] std::string lacks_nothing() { return ""; }

#endif

struct Row {
  const Kernels* kernels;
  Check lacks;
};

const Row kRows[] = {
#if defined(BERTEDGE_KERNELS_AMX)
    {&kKernelsAmx, lacks_amx},
#endif
#if defined(BERTEDGE_KERNELS_AVX512_VNNI)
    {&kKernelsAvx512Vnni, lacks_avx512_vnni},
#endif
#if defined(BERTEDGE_KERNELS_AVX_VNNI)
    {&kKernelsAvxVnni, lacks_avx_vnni},
#endif
#if defined(BERTEDGE_KERNELS_AVX512)
    {&kKernelsAvx512, lacks_avx512},
#endif
#if defined(BERTEDGE_KERNELS_AVX2)
    {&kKernelsAvx2, lacks_avx2},
#endif
#if defined(BERTEDGE_KERNELS_NEON_I8MM)
    {&kKernelsNeonI8mm, lacks_i8mm},
#endif
#if defined(BERTEDGE_KERNELS_NEON_DOTPROD)
    {&kKernelsNeonDotprod, lacks_dotprod},
#endif
#if defined(BERTEDGE_KERNELS_NEON)
    {&kKernelsNeon, lacks_nothing},
#endif
    {nullptr, nullptr},
};

}  // namespace

const Kernels* const* all_kernels() {
  static const Kernels* list[sizeof kRows / sizeof kRows[0]];
  static const bool filled = [] {
    for (size_t i = 0; i < sizeof kRows / sizeof kRows[0]; i++) list[i] = kRows[i].kernels;
    return true;
  }();
  (void)filled;
  return list;
}

std::string why_not(const Kernels& kernels) {
  for (const Row& row : kRows) {
    if (row.kernels == &kernels) return row.lacks();
  }
  return "it was not built";
}

const Kernels* find_kernels(const std::string& name) {
  for (const Row& row : kRows) {
    if (row.kernels && (name.empty() || name == row.kernels->name) && row.lacks().empty()) return row.kernels;
  }
  return nullptr;
}

}  // namespace bertedge
