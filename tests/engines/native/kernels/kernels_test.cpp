// Checks the kernels that this CPU runs, or those that are named, against plain C++. Exit code 1: a check failed.
#include "api.h"
#include "float_checks.h"
#include "int8_checks.h"
#include "row_checks.h"
#ifdef BERTEDGE_EMULATE_AMX
#include "../trapped_tiles.h"
#endif

namespace bertedge {
extern const Kernels kKernelsAmx, kKernelsAvx512Vnni, kKernelsAvx512, kKernelsAvxVnni, kKernelsAvx2, kKernelsNeonI8mm,
    kKernelsNeonDotprod, kKernelsNeon;
}

namespace {

const bertedge::Kernels* const kBuilt[] = {
#ifdef BERTEDGE_KERNELS_AMX
    &bertedge::kKernelsAmx,
#endif
#ifdef BERTEDGE_KERNELS_AVX512_VNNI
    &bertedge::kKernelsAvx512Vnni,
#endif
#ifdef BERTEDGE_KERNELS_AVX512
    &bertedge::kKernelsAvx512,
#endif
#ifdef BERTEDGE_KERNELS_AVX_VNNI
    &bertedge::kKernelsAvxVnni,
#endif
#ifdef BERTEDGE_KERNELS_AVX2
    &bertedge::kKernelsAvx2,
#endif
#ifdef BERTEDGE_KERNELS_NEON_I8MM
    &bertedge::kKernelsNeonI8mm,
#endif
#ifdef BERTEDGE_KERNELS_NEON_DOTPROD
    &bertedge::kKernelsNeonDotprod,
#endif
#ifdef BERTEDGE_KERNELS_NEON
    &bertedge::kKernelsNeon,
#endif
};

bool check(const bertedge::Kernels& kernels) {
  checks::Checker checker(kernels);
  kernels.begin();
  checks::check_rows(checker);
  checks::check_packing(checker);
  checks::check_int8_product(checker);
  checks::check_float_product(checker);
  checks::check_attention(checker);
  kernels.end();
  return checker.report();
}

bool named(const char* name, int count, char** names) {
  for (int i = 1; i < count; i++) {
    if (!std::strcmp(names[i], name)) return true;
  }
  return false;
}

}  // namespace

int main(int count, char** names) {
  bool right = true;
  for (const bertedge::Kernels* kernels : kBuilt) {
    if (count > 1 && !named(kernels->name, count, names)) continue;
    const char* why_not = be_why_not(kernels->name);
    if (count == 1 && why_not[0]) {
      std::printf("%s: skipped: %s\n", kernels->name, why_not);
      continue;
    }
    right = check(*kernels) && right;
  }
  return right ? 0 : 1;
}
