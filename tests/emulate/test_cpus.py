"""The table of CPUs that can be emulated."""

from __future__ import annotations

import pytest

from bertedge.cpu import parse_cpuinfo
from bertedge.emulate.cpus import ARCHITECTURES, CPUS, EmulatedCpu, emulated_cpu
from bertedge.errors import UsageError
from bertedge.target import TARGETS, best_target


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_a_cpu_is_what_its_cpuinfo_says(cpu: EmulatedCpu) -> None:
    seen = parse_cpuinfo(cpu.cpuinfo_text(), cpu.arch)
    target = TARGETS[cpu.target]
    assert cpu.arch in ARCHITECTURES
    assert target.arch in (cpu.arch, "any")
    assert target == best_target(seen)
    assert seen.model != "unknown"


def test_an_unknown_cpu_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        emulated_cpu("cortex-a7")
    assert "did you mean 'cortex-a76'" in caught.value.hint
    assert "haswell" in caught.value.hint
