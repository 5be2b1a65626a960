"""What a container may really use."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertedge.runtime.session import TRIAL_CALLS, _Trial
from bertedge.runtime.threads import cgroup_quota, usable_cpus


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "garbage"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "5", "cpu/cpu.cfs_period_us": "0"}, None),
        ({"cpu.max": "inf 100000"}, None),
        ({}, None),
    ],
)
def test_quota(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert cgroup_quota(tmp_path) == quota
    assert 1 <= usable_cpus(tmp_path) <= max(1, usable_cpus(tmp_path / "none"))


def test_a_trial_keeps_the_fastest() -> None:
    trial = _Trial((4, 1))
    used = []
    for _ in range(2 * TRIAL_CALLS):
        used.append(trial.threads())
        trial.record(used[-1], 2.0 if used[-1] == 4 else 1.0)
    assert used == [4] * TRIAL_CALLS + [1] * TRIAL_CALLS
    assert trial.threads() == 1
    trial.record(1, 100.0)
    assert trial.threads() == 1


@pytest.mark.parametrize(
    ("quota", "cpus"), [("max", 8), ("10000", 1), ("100000", 1), ("150000", 2), ("250000", 3), ("1600000", 8), ("0", 8)]
)
def test_a_fraction_is_rounded_up_and_affinity_is_the_limit(
    quota: str, cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    assert usable_cpus(tmp_path) == cpus


def test_version_2_comes_before_version_1(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cgroup_quota(tmp_path) == 4
    (tmp_path / "cpu.max").write_text("200000 100000")
    assert cgroup_quota(tmp_path) == 2


def test_half_of_version_1_is_no_limit(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000")
    assert cgroup_quota(tmp_path) is None
