"""What machine a number was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import numpy as np
import onnxruntime

import bertedge
from bertedge.cpu import this_cpu
from bertedge.runtime.threads import usable_cpus
from bertedge.target import TARGETS, resolve_target


@dataclass(frozen=True, kw_only=True)
class Machine:
    """CPU, cores, memory and versions."""

    cpu: str
    arch: str
    features: tuple[str, ...]
    cpus: int
    memory_bytes: int | None
    system: str
    target: str
    python: str
    numpy: str
    onnxruntime: str
    bertedge: str


def this_machine() -> Machine:
    """Describe the machine and the process's share of it; of the CPU's features, those that some target asks for."""
    cpu = this_cpu()
    known = frozenset().union(*(target.required_features for target in TARGETS.values()))
    return Machine(
        cpu=cpu.model,
        arch=cpu.arch,
        features=tuple(sorted(cpu.features & known)),
        cpus=usable_cpus(),
        memory_bytes=_memory(),
        system=platform.system(),
        target=resolve_target("auto").name,
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=onnxruntime.__version__,
        bertedge=bertedge.__version__,
    )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
