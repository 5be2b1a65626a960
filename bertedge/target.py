"""CPU targets: what onnxruntime runs on each, which weights are correct there, and which target fits a machine.

onnxruntime multiplies uint8 activations by int8 weights. x86 CPUs without VNNI add the products of two neighbouring
inputs in a 16-bit register that saturates (``vpmaddubsw``): 255 * (127 + 127) does not fit, 255 * 128 does. So where
that can happen, two neighbours of one sign are limited to 128 together. On all other CPUs weights are limited to +-127:
ARM's kernel without dotprod adds two products of int8 in 16 bits, and -128 * -128 * 2 does not fit.

**The rule** by which a bundle is correct on a CPU: the weight range of its target must lie within the range that the
engine multiplies there. For onnxruntime that is the range of the CPU's own row (:func:`best_target`, :func:`fit`).
A target changes nothing else in the graph. So a bundle for another architecture is correct on a CPU if its weights,
single and in pairs, are small enough there. A new target is one row.

The rule does not apply to weight-only bundles, whose blocks are multiplied by other kernels (``sqnbitgemm_*``):
15 * 128 * 2 fits in 16 bits, and with 8 bits the AVX2 kernel separates the pairs.

Kernels are named as in onnxruntime's ``core/mlas/lib/platform.cpp`` (read in the sources of 2026), which chooses them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bertedge.cpu import ARM, X86, Cpu, this_cpu
from bertedge.errors import TargetWarning, UnfitMachineError, UsageError, nearest
from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE, WeightRange

#: Up to 1.20, MultiHeadAttention applies the mask wrongly where queries and keys differ in number; the tests show this.
MIN_ONNXRUNTIME = "1.21"
#: The AMX kernel gives wrong sums from 32 rows on until March 2026 (onnxruntime's pull request 27671), where the inputs
#: are not a multiple of 64: tests/engines/test_kernels.py fails with 1.24 and passes with 1.25.
MIN_ONNXRUNTIME_AMX = "1.25"
AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})


@dataclass(frozen=True, kw_only=True)
class TargetProfile:
    """A kind of CPU.

    Attributes:
        arch: ``x86_64``, ``aarch64``, or ``any``.
        cpus: examples of such CPUs, for people.
        required_features: names as in ``/proc/cpuinfo``; onnxruntime asks for the same ones.
        kernel: what onnxruntime's matmul of uint8 activations and int8 weights runs there.
        weight_range: the int8 weights that cannot overflow there.
        reason: why these weights cannot overflow there.
        avoid: what is slow or wrong there.
        threads: default: one for every CPU, or one for every core where its CPUs share the vector units.
        min_onnxruntime: the oldest onnxruntime that is correct there.
        in_minimal_build: whether onnxruntime's minimal builds, which run ORT files, have this kernel.
    """

    name: str
    arch: str
    cpus: str
    required_features: frozenset[str]
    kernel: str
    weight_range: WeightRange
    reason: str
    avoid: str
    threads: Literal["cpu", "core"]
    min_onnxruntime: str = MIN_ONNXRUNTIME
    in_minimal_build: bool = True

    def runs_on(self, cpu: Cpu) -> bool:
        """Whether the CPU is of this kind, or of a better one."""
        return self.arch in (cpu.arch, "any") and self.required_features <= cpu.features


#: Applies to every x86 CPU without AVX-VNNI-INT8.
SLOW_ON_X86 = "int8 activations: plain C++; uint8 weights: 16-bit products"
#: Applies to ARM CPUs with SME, which have no row of their own.
SME = "with SME, --recipe dynamic: a kernel that was not checked"

#: Rows by name; of one architecture, the best first.
TARGETS = {
    row.name: row
    for row in (
        TargetProfile(
            name="amx",
            arch=X86,
            cpus="Sapphire Rapids and later Xeons",
            required_features=AVX512 | {"avx512_vnni", "amx_tile", "amx_int8"},
            kernel="GemmU8S8DispatchAmx: tdpbusd",
            weight_range=FULL_RANGE,
            reason="tiles add four products in 32 bits",
            avoid=f"onnxruntime up to 1.24: its sums can be wrong; {SLOW_ON_X86}",
            threads="core",
            min_onnxruntime=MIN_ONNXRUNTIME_AMX,
            in_minimal_build=False,
        ),
        TargetProfile(
            name="avx512-vnni",
            arch=X86,
            cpus="Cascade Lake, Ice Lake, Zen 4 and later",
            required_features=AVX512 | {"avx512_vnni"},
            kernel="GemmU8S8KernelAvx512Vnni: vpdpbusds",
            weight_range=FULL_RANGE,
            reason="512-bit vpdpbusds adds four products in 32 bits",
            avoid=SLOW_ON_X86,
            threads="core",
            in_minimal_build=False,
        ),
        TargetProfile(
            name="avx-vnni",
            arch=X86,
            cpus="Alder Lake and later Core",
            required_features=frozenset({"avx2", "fma", "avx_vnni"}),
            kernel="GemmU8S8KernelAvxVnni: vpdpbusds",
            weight_range=FULL_RANGE,
            reason="256-bit vpdpbusds adds four products in 32 bits",
            avoid=SLOW_ON_X86,
            threads="core",
        ),
        TargetProfile(
            name="avx512",
            arch=X86,
            cpus="Skylake Xeons",
            required_features=AVX512,
            kernel="GemmU8S8KernelAvx512Core: vpmaddubsw, vpmaddwd",
            weight_range=PAIRED_RANGE,
            reason="vpmaddubsw saturates at 16 bits, at 512 bits of width as at 256",
            avoid=f"pairs of weights above 128: wrong sums; {SLOW_ON_X86}",
            threads="core",
            in_minimal_build=False,
        ),
        TargetProfile(
            name="avx2",
            arch=X86,
            cpus="Haswell to Comet Lake, Zen 1 to 3",
            required_features=frozenset({"avx2", "fma"}),
            kernel="GemmU8S8KernelAvx2: vpmaddubsw, vpmaddwd",
            weight_range=PAIRED_RANGE,
            reason="vpmaddubsw saturates at 16 bits",
            avoid=f"pairs of weights above 128: wrong sums; {SLOW_ON_X86}",
            threads="core",
        ),
        TargetProfile(
            name="arm64-i8mm",
            arch=ARM,
            cpus="Neoverse V1 and N2, Cortex-A510 and A710 and later; on Linux",
            required_features=frozenset({"asimd", "asimddp", "i8mm"}),
            kernel="GemmU8X8DispatchUmmla: ummla; with SVE: svmmla",
            weight_range=FULL_RANGE,
            reason="ummla adds eight products in 32 bits; weights are shifted to uint8",
            avoid=SME,
            threads="cpu",
        ),
        TargetProfile(
            name="arm64-dotprod",
            arch=ARM,
            cpus="Cortex-A55, A76 (Raspberry Pi 5), Neoverse N1, Apple M",
            required_features=frozenset({"asimd", "asimddp"}),
            kernel="GemmU8X8DispatchUdot: udot",
            weight_range=FULL_RANGE,
            reason="udot adds four products in 32 bits; weights are shifted to uint8",
            avoid=SME,
            threads="cpu",
        ),
        TargetProfile(
            name="arm64",
            arch=ARM,
            cpus="Cortex-A53, A72 (Raspberry Pi 3 and 4), every other AArch64",
            required_features=frozenset({"asimd"}),
            kernel="GemmX8S8DispatchNeon: smull, smlal, sadalp",
            weight_range=FULL_RANGE,
            reason="two products of int8 fit into 16 bits while no weight is -128; inputs are shifted to int8",
            avoid="weights of -128: wrong sums",
            threads="cpu",
        ),
        TargetProfile(
            name="portable",
            arch="any",
            cpus="every CPU",
            required_features=frozenset(),
            kernel="the best that the CPU has",
            weight_range=PAIRED_RANGE,
            reason="no kernel of any CPU overflows, for somewhat smaller weights",
            avoid="nothing known",
            threads="cpu",
        ),
    )
}
AUTO, PORTABLE = "auto", "portable"


def best_target(cpu: Cpu) -> TargetProfile:
    """The best row that a CPU satisfies; ``portable`` where it could not be identified."""
    return next(row for row in TARGETS.values() if row.runs_on(cpu)) if cpu.identified else TARGETS[PORTABLE]


def this_target() -> TargetProfile:
    """The best row that this machine satisfies."""
    return best_target(this_cpu())


def resolve_target(name: str, *, minimal_build: bool = False) -> TargetProfile:
    """The row of that name.

    Args:
        name: ``auto`` is the best row that this machine satisfies.
        minimal_build: the bundle is for onnxruntime's minimal builds. ``auto`` is ``portable`` then, because such
            builds run on other machines.

    Raises:
        UsageError: there is no such target, or a minimal build would be wrong on it.
    """
    if name == AUTO:
        return TARGETS[PORTABLE] if minimal_build else this_target()
    if name not in TARGETS:
        raise UsageError(f"target {name!r} is not known", nearest(name, [AUTO, *TARGETS]))
    row = TARGETS[name]
    if minimal_build and not row.in_minimal_build and not row.weight_range.within(PAIRED_RANGE):
        raise UsageError(
            f"--format ort for target {name}: minimal builds of onnxruntime leave out its kernel, and the one they run "
            "instead overflows",
            "take --target portable, or leave --format ort out",
        )
    return row


def explain(name: str, *, minimal_build: bool = False) -> str:
    """Which target :func:`resolve_target` chose, and why; a part of a sentence."""
    row, cpu = resolve_target(name, minimal_build=minimal_build), this_cpu()
    if name != AUTO:
        return row.name
    if minimal_build:
        return f"{row.name} (an ORT file runs on other machines)"
    return f"{row.name} (this CPU is {cpu}; {row.reason})"


class Fit(StrEnum):
    """How a bundle fits a CPU."""

    correct = "correct"
    less_accurate = "correct, less accurate"
    wrong = "refused"


def fit(target: TargetProfile, here: TargetProfile) -> Fit:
    """How onnxruntime computes a bundle on a CPU: the rule of this module.

    Args:
        target: the target that the bundle was made for.
        here: the best row that the CPU satisfies.
    """
    if not target.weight_range.within(here.weight_range):
        return Fit.wrong
    return Fit.correct if here.weight_range.within(target.weight_range) else Fit.less_accurate


def _supported(cpu: Cpu) -> WeightRange:
    return best_target(cpu).weight_range


def describe_fit(name: str, supported: Callable[[Cpu], WeightRange] = _supported) -> str:
    """How a bundle of a target fits this CPU, as a sentence; ``supported`` is that of :func:`require_fit`."""
    cpu, target, here = this_cpu(), TARGETS[name], this_target()
    if not target.weight_range.within(supported(cpu)):
        return _overflows(name, cpu)
    if fit(target, here) is Fit.less_accurate:
        return f"correct, with the smaller weights of {name}; this CPU ({cpu}), {here.name}, could use larger ones"
    return f"correct; this CPU ({cpu}) is {here.name}"


def require_fit(name: str, supported: Callable[[Cpu], WeightRange] = _supported) -> None:
    """Refuse a target whose sums would overflow on this CPU.

    Args:
        supported: the weights that an engine multiplies without overflow on a CPU; default: those of onnxruntime.

    Raises:
        UnfitMachineError: the target's weights are larger.
    """
    cpu = this_cpu()
    if not TARGETS[name].weight_range.within(supported(cpu)):
        raise UnfitMachineError(
            f"this bundle: {_overflows(name, cpu)}",
            "quantize again with --target portable, or run it with --allow-any-cpu",
        )


def _overflows(name: str, cpu: Cpu) -> str:
    overflow = "overflow" if cpu.identified else "may overflow"
    return f"made for {name}; on this CPU ({cpu}) its sums {overflow}, which makes wrong results"


def warn_if_less_accurate(name: str, *, stacklevel: int) -> None:
    """Warn of a bundle that is less accurate than one for this CPU; but ``portable`` is meant to run everywhere.

    Args:
        stacklevel: as for :func:`warnings.warn`, counted from the caller.
    """
    here = this_target()
    if name != PORTABLE and fit(TARGETS[name], here) is Fit.less_accurate:
        way_out = f"quantize with --target {here.name}, or portable for one file that runs everywhere"
        warnings.warn(TargetWarning(f"this bundle is {describe_fit(name)} ({way_out})"), stacklevel=stacklevel + 1)
