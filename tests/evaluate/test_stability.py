"""Clocks of the machine, and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bertedge.evaluate.machine_record import generation, this_machine
from bertedge.evaluate.stability import Snapshot, Stability, stability
from tests.report.samples import QUIET, times


def at(seconds: float, **changes: float | None) -> Snapshot:
    """Two CPUs that were idle, and a process that used one of them for a tenth of the time."""
    plain = Snapshot(total_s=2 * seconds, stolen_s=0.0, busy_s=0.1 * seconds, own_s=0.1 * seconds, mhz=2e3, at=seconds)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_quiet_machine() -> None:
    seen = stability(at(100), at(110), [times(1.0, 1.0, 1.0)])
    assert (seen.seconds, seen.stolen, seen.others, seen.drift, seen.spread) == (10, 0, 0, 1, 0)
    assert seen.notes == []


@pytest.mark.parametrize(
    ("changes", "samples", "words"),
    [
        ({"stolen_s": 2.0}, (1.0, 1.0), "took 10 % of the CPU time"),
        ({"busy_s": 11 + 10.0}, (1.0, 1.0), "other processes used 50 %"),
        ({"mhz": 1e3}, (1.0, 1.0), "from 2000 to 1000 MHz"),
        ({}, (1.0, 1.0, 1.0, 1.0, 1.5, 1.5), "1.50 times as long at the end"),
        ({}, (1.5, 1.5, 1.0, 1.0, 1.0, 1.0), "0.67 times as long at the end"),
        ({}, (1.0, 2.0, 1.0, 2.0, 1.0, 2.0), "spans"),
    ],
)
def test_what_is_out_of_the_ordinary(changes: dict[str, float], samples: tuple[float, ...], words: str) -> None:
    seen = stability(at(100), at(110, **changes), [times(1.0, 1.0, 1.0), times(*samples)])
    assert any(words in note for note in seen.notes), seen.notes


def test_a_system_that_does_not_tell() -> None:
    seen = stability(at(100, stolen_s=None, mhz=None), at(110, stolen_s=None, mhz=None), [])
    assert seen == Stability(
        seconds=10, stolen=None, others=0.0, mhz_before=None, mhz_after=None, drift=None, spread=None
    )
    assert seen.notes == []
    assert QUIET.notes == []


def test_this_machine_can_be_watched() -> None:
    before = Snapshot.now()
    total = sum(range(2_000_000))
    after = Snapshot.now()
    assert total
    assert after.own_s >= before.own_s
    assert after.at > before.at
    assert after.total_s > before.total_s
    assert 0 <= after.busy_s - before.busy_s <= after.total_s - before.total_s


def test_cpus_of_one_name_are_told_apart(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name : EPYC\ncpu family : 25\nmodel : 17\nstepping : 1\n\ncpu family : 26\n")
    assert generation(cpuinfo) == "25.17.1"
    cpuinfo.write_text("CPU implementer : 0x41\nCPU part : 0xd08\nCPU revision : 3\n")
    assert generation(cpuinfo) == "0x41.0xd08.3"
    assert generation(tmp_path / "nowhere") == ""
    machine = this_machine()
    bugfix = ".".join([*machine.python.split(".")[:2], "999"])
    assert machine.differences(replace(machine, python=bugfix, memory_bytes=1)) == []
    other = replace(machine, generation="x", features=("avx9",), cpus=1000, python="2.7.18")
    words = machine.differences(other)
    assert [word.split()[0] for word in words] == ["generation", "features", "cpus", "python"]
    assert words[-1].endswith(", not 2.7")
    assert words[1].endswith("not avx9")
