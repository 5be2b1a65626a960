"""The native engine: kernels in C++ that compute int8 bundles, one file for each instruction set.

Activations get the range of each token, so a row's result depends on nothing but the row.
"""

from __future__ import annotations

from bertedge.bundle import Bundle
from bertedge.cpu import Cpu
from bertedge.engines.engine import Engine, Executor
from bertedge.engines.native import library
from bertedge.errors import UnfitMachineError, UsageError
from bertedge.manifest import Manifest
from bertedge.plan import PLAN
from bertedge.weight_range import FULL_RANGE, WeightRange

#: Kernels that are faster than onnxruntime on the same CPU; ``auto`` takes no other. Those of ARM need fewer
#: instructions (docs/benchmarks/native-emulated.md), the others less time; for AMX a prototype did.
FASTER = frozenset({"amx", "avx512-vnni", "avx512", "avx-vnni", "avx2", "neon-i8mm", "neon-dotprod", "neon"})
#: The share of int8 multiply-accumulates from which on it is faster; onnxruntime multiplies floats as fast.
LEAST_INT8 = 0.5
ELSEWHERE = "run it with --engine onnxruntime"


def _weight_range(cpu: Cpu) -> WeightRange:
    return FULL_RANGE  # on every CPU its sums are exact


def _require(manifest: Manifest, *, allow_any_cpu: bool = False) -> None:
    if PLAN not in manifest.files:
        raise UsageError(f"the native engine cannot read a model in {manifest.format} format", ELSEWHERE)
    if manifest.recipe is not None and manifest.recipe.method.in_blocks:
        raise UsageError("the native engine does not compute weights in blocks", ELSEWHERE)
    if not library.kernels_here():
        raise UnfitMachineError("the native engine has no kernel for this CPU", ELSEWHERE)


def _open(bundle: Bundle, *, threads: int, check: bool = True) -> Executor:
    from bertedge.engines.native.native_executor import NativeExecutor

    return NativeExecutor(bundle, threads=threads)


def _describe() -> str:
    try:
        every, here = library.kernels(), library.kernels_here()
    except UnfitMachineError as error:
        return error.message.removeprefix("the native engine ")
    best = here[0] if here else None
    better = every[: every.index(best)] if best else every
    words = [f"int8 kernel on this CPU: {best}" if best else "no kernel for this CPU"]
    return "; ".join([*words, *(f"not {name}: {library.why_not(name)}" for name in better)])


def _why_slow(manifest: Manifest) -> str | None:
    if manifest.coverage.macs < LEAST_INT8:
        return "it is made for int8 bundles"
    kernel = library.kernels_here()[0]
    return None if kernel in FASTER else f"its kernel {kernel} was not measured to be faster"


NATIVE = Engine(
    name="native",
    weight_range=_weight_range,
    require=_require,
    open=_open,
    describe=_describe,
    arithmetic="per_token",
    why_slow=_why_slow,
)
