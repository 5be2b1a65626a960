"""The machine on which a report was measured."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bertedge
from bertedge.bounds import Count
from bertedge.cpu import this_cpu
from bertedge.engines.onnxruntime.versions import version
from bertedge.engines.threads import usable_cpus
from bertedge.target import TARGETS, resolve_target

CPUINFO = Path("/proc/cpuinfo")
#: Keys of ``/proc/cpuinfo`` that distinguish CPUs of the same name, which virtual machines have; x86, then ARM.
GENERATION = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU revision")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """CPU, cores, memory and versions.

    Attributes:
        generation: family, model and stepping in ``/proc/cpuinfo``.
        features: the CPU features that at least one target needs.
    """

    cpu: str
    generation: str
    arch: str
    features: tuple[str, ...]
    cpus: Count
    memory_bytes: Count | None
    system: str
    target: str
    python: str
    numpy: str
    onnxruntime: str
    bertedge: str

    def differences(self, other: Machine) -> list[str]:
        """The differences of two machines, in words; empty if their times can be compared."""
        theirs = other._identity()
        return [f"{name} {mine}, not {theirs[name]}" for name, mine in self._identity().items() if mine != theirs[name]]

    def _identity(self) -> dict[str, str]:
        """Name -> value of the facts that must be equal to compare times.

        The third number of Python's version is ignored.
        """
        return {
            "cpu": self.cpu,
            "generation": self.generation,
            "features": " ".join(self.features),
            "cpus": str(self.cpus),
            "onnxruntime": self.onnxruntime,
            "python": ".".join(self.python.split(".")[:2]),
        }


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    cpu = this_cpu()
    known = frozenset().union(*(target.required_features for target in TARGETS.values()))
    return Machine(
        cpu=cpu.model,
        generation=generation(CPUINFO),
        arch=cpu.arch,
        features=tuple(sorted(cpu.features & known)),
        cpus=usable_cpus(),
        memory_bytes=_memory(),
        system=platform.system(),
        target=resolve_target("auto").name,
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=version(),
        bertedge=bertedge.__version__,
    )


def generation(cpuinfo: Path) -> str:
    """Family, model and stepping of the first CPU, as in ``25.17.1``; empty if the system does not provide them."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = (re.search(rf"^{name}\s*:\s*(\S+)", text, re.MULTILINE) for name in GENERATION)
    return ".".join(match[1] for match in found if match)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
