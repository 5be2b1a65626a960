"""The CPU of this machine, described with the names of Linux's ``/proc/cpuinfo``.

Without that file, features come from sysctl on a Mac with an ARM CPU, and elsewhere from numpy (Windows, macOS on x86).
If nothing is known about a CPU, it has no features here, so it gets the target that is correct on every CPU.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: Bytes to read. The file repeats the same lines for every core, so its start is enough.
CPUINFO_BYTES = 1 << 14
X86, ARM = "x86_64", "aarch64"
#: Python's names of architectures (Windows: ``AMD64``, ``ARM64``; macOS: ``arm64``) -> Linux's.
ARCHITECTURES = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM, "ARM64": ARM}
#: numpy's names of features -> Linux's. numpy does not report AVX-VNNI, AMX or i8mm: such CPUs get a safer target.
NUMPY_FEATURES = {
    "AVX2": "avx2",
    "FMA3": "fma",
    "AVX512F": "avx512f",
    "AVX512BW": "avx512bw",
    "AVX512DQ": "avx512dq",
    "AVX512VL": "avx512vl",
    "AVX512VNNI": "avx512_vnni",
    "ASIMD": "asimd",
    "ASIMDDP": "asimddp",
}
#: numpy's modules that know the features: of version 2, then of version 1.
NUMPY_REPORTS = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
#: macOS's names of features -> Linux's. No i8mm: onnxruntime compiles its kernels for it on Linux only.
SYSCTL_FEATURES = {"hw.optional.AdvSIMD": "asimd", "hw.optional.arm.FEAT_DotProd": "asimddp"}

#: Reads a value of sysctl by its name; None if there is no such value.
Sysctl = Callable[[str], bytes | None]


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """A CPU.

    Attributes:
        arch: ``x86_64``, ``aarch64``, or Python's name of another architecture.
        features: names as in ``/proc/cpuinfo``; empty if they are unknown.
        model: the CPU's name.
    """

    arch: str
    features: frozenset[str]
    model: str

    @property
    def identified(self) -> bool:
        """Whether the features of this CPU are known."""
        return bool(self.features)

    def __str__(self) -> str:
        return self.model if self.identified else f"{self.arch}, which could not be identified"


@cache
def this_cpu() -> Cpu:
    """The CPU of this machine. It is read once."""
    arch = ARCHITECTURES.get(platform.machine(), platform.machine())
    try:
        with open(CPUINFO, "rb") as file:
            text = file.read(CPUINFO_BYTES).decode("utf-8", errors="replace")
    except OSError:
        text = ""
    cpu = parse_cpuinfo(text, arch)
    if cpu.identified:
        return cpu
    if platform.system() == "Darwin" and arch == ARM:
        return from_sysctl(_sysctl)
    return Cpu(arch=arch, features=numpy_features(), model=cpu.model)


def parse_cpuinfo(text: str, arch: str) -> Cpu:
    """Read features (``flags`` on x86, ``Features`` on ARM) and model name from the text of ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip().lower(), value.strip())
    features = fields.get("flags") or fields.get("features") or ""
    model = fields.get("model name") or fields.get("cpu part") or platform.processor() or "unknown"
    return Cpu(arch=arch, features=frozenset(features.split()), model=model)


def numpy_features() -> frozenset[str]:
    """The features that numpy found, by Linux's names. Empty if numpy does not report them."""
    for name in NUMPY_REPORTS:
        try:
            report = import_module(name).__cpu_features__
        except (ImportError, AttributeError):
            continue
        return frozenset(NUMPY_FEATURES[feature] for feature in NUMPY_FEATURES if report.get(feature))
    return frozenset()


def from_sysctl(read: Sysctl) -> Cpu:
    """Describe a Mac's ARM CPU. Flags are integers of four or eight bytes; the name ends with a zero byte."""
    features = {ours for theirs, ours in SYSCTL_FEATURES.items() if any(read(theirs) or b"")}
    model = (read("machdep.cpu.brand_string") or b"").rstrip(b"\0").decode("utf-8", errors="replace")
    return Cpu(arch=ARM, features=frozenset(features), model=model or "unknown")


def _sysctl(name: str) -> bytes | None:
    """Call ``sysctlbyname(3)``. None if this system has no such value."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "sysctlbyname"):
        return None
    value, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    failed = library.sysctlbyname(name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0))
    return None if failed else value.raw[: size.value]
