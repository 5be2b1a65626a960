"""CPU targets: what each one runs right, and which one this machine is.

onnxruntime multiplies uint8 activations by int8 weights. x86 CPUs without VNNI add each pair of products in a 16-bit
register that saturates: 255 * 127 * 2 does not fit, 255 * 63 * 2 does. So weights keep to +-63 where that can happen.
A new target is one row.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bertedge.errors import UnfitMachineError, UsageError, nearest

FULL_RANGE, SAFE_RANGE = 127, 63
#: Up to 1.20, MultiHeadAttention applies the mask wrongly where queries and keys differ in number; the tests show it.
MIN_ONNXRUNTIME = "1.21"
CPUINFO = Path("/proc/cpuinfo")
X86, ARM = "x86_64", "aarch64"
#: x86 features whose instructions add products in 32 bits.
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
ARCHITECTURES = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}


@dataclass(frozen=True, kw_only=True)
class TargetProfile:
    """A kind of CPU.

    Attributes:
        arch: ``x86_64``, ``aarch64``, or ``any``.
        required_features: names as in ``/proc/cpuinfo``.
        weight_range: the largest int8 weight that cannot overflow there.
        min_onnxruntime: the oldest onnxruntime that has every operator of the graph.
        reason: one line for the table of targets.
    """

    name: str
    arch: str
    required_features: frozenset[str]
    weight_range: int
    reason: str
    min_onnxruntime: str = MIN_ONNXRUNTIME


TARGETS = {
    row.name: row
    for row in (
        TargetProfile(
            name="avx512-vnni",
            arch=X86,
            required_features=frozenset({"avx512_vnni"}),
            weight_range=FULL_RANGE,
            reason="512-bit vpdpbusd adds in 32 bits",
        ),
        TargetProfile(
            name="avx-vnni",
            arch=X86,
            required_features=frozenset({"avx_vnni"}),
            weight_range=FULL_RANGE,
            reason="256-bit vpdpbusd adds in 32 bits",
        ),
        TargetProfile(
            name="avx2",
            arch=X86,
            required_features=frozenset({"avx2"}),
            weight_range=SAFE_RANGE,
            reason="vpmaddubsw saturates at 16 bits, so weights keep to 7 bits",
        ),
        TargetProfile(
            name="arm64-dotprod",
            arch=ARM,
            required_features=frozenset({"asimddp"}),
            weight_range=FULL_RANGE,
            reason="udot adds in 32 bits",
        ),
        TargetProfile(
            name="arm64",
            arch=ARM,
            required_features=frozenset({"asimd"}),
            weight_range=FULL_RANGE,
            reason="umull and uadalp widen before they add",
        ),
        TargetProfile(
            name="portable",
            arch="any",
            required_features=frozenset(),
            weight_range=SAFE_RANGE,
            reason="right on every CPU, at one bit less of weight",
        ),
    )
}
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The CPU that this process runs on: architecture, features, the name it gives itself."""

    arch: str
    features: frozenset[str]
    model: str

    @property
    def exact_weight_range(self) -> int:
        """The largest int8 weight that this CPU multiplies without saturating."""
        return FULL_RANGE if self.arch == ARM or self.features & VNNI else SAFE_RANGE


@cache
def this_cpu() -> Cpu:
    """Read the CPU's features; an unknown system has none, which is always safe."""
    arch = ARCHITECTURES.get(platform.machine(), platform.machine())
    if platform.system() == "Darwin" and arch == ARM:  # every Apple M has them
        return Cpu(arch=arch, features=frozenset({"asimd", "asimddp"}), model="Apple")
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return parse_cpuinfo(text, arch)


def parse_cpuinfo(text: str, arch: str) -> Cpu:
    """Features (``flags`` on x86, ``Features`` on ARM) and model name out of ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip().lower(), value.strip())
    features = fields.get("flags") or fields.get("features") or ""
    model = fields.get("model name") or fields.get("cpu part") or platform.processor() or "unknown"
    return Cpu(arch=arch, features=frozenset(features.split()), model=model)


def resolve_target(name: str) -> TargetProfile:
    """The row of that name; ``auto`` is the best one that this machine satisfies.

    Raises:
        UsageError: there is no such target.
    """
    if name == AUTO:
        cpu = this_cpu()
        return next(t for t in TARGETS.values() if t.arch in (cpu.arch, "any") and t.required_features <= cpu.features)
    if name not in TARGETS:
        raise UsageError(f"target {name!r} is not known", nearest(name, [AUTO, *TARGETS]))
    return TARGETS[name]


def require_fit(name: str) -> None:
    """Refuse a bundle whose sums would saturate on this CPU.

    Raises:
        UnfitMachineError: they would.
    """
    target, cpu = resolve_target(name), this_cpu()
    if target.weight_range > cpu.exact_weight_range:
        raise UnfitMachineError(
            f"this bundle is for {target.name}; on this CPU ({cpu.model}) its sums overflow and its results are wrong",
            "quantize again with --target portable, or run it with --allow-any-cpu where a command has that",
        )
