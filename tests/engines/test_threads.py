"""What a container may really use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge.benchmark import BenchSettings
from bertedge.bundle import Bundle
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.engines.onnxruntime.padded import PaddedPredictor
from bertedge.engines.onnxruntime.session import open_session
from bertedge.engines.onnxruntime.thread_trial import (
    RETRY_CALLS,
    RETRY_EVERY,
    TRIAL_CALLS,
    TRIAL_ROUNDS,
    ThreadTrial,
)
from bertedge.engines.threads import OWN, cgroup_quota, checked_threads, default_threads, threads_here, usable_cpus
from bertedge.errors import UsageError
from bertedge.evaluate.latency import SETTLE_CALLS
from bertedge.runtime import BertRuntime, load
from bertedge.tuning.tuning_settings import TuneSettings
from tests.cli.test_cli import typed


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
    nowhere = tmp_path / "none"
    assert cgroup_quota(tmp_path, nowhere) == quota
    assert 1 <= usable_cpus(tmp_path, nowhere) <= max(1, usable_cpus(nowhere, nowhere))


V1, V2 = "4:cpu,cpuacct:{}\n3:memory:/m\n", "0::{}\n"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        (V2.format("/a/b"), {"a/b/cpu.max": "150000 100000", "cpu.max": "max 100000"}, 1.5),
        (V2.format("/a/b"), {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        (V2.format("/a/b"), {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000", "cpu.max": "5 1"}, 3.0),
        (V2.format("/a/b"), {"a/c/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, None),  # of another group
        (V2.format("/"), {"cpu.max": "100000 100000", "a/cpu.max": "1000 100000"}, 1.0),
        (V2.format("/host/only"), {"cpu.max": "250000 100000"}, 2.5),  # the host's path, in a container
        (V2.format("/../a"), {"a/cpu.max": "100000 100000"}, None),  # outside of what this namespace sees
        (V2.format("/a:b"), {"a:b/cpu.max": "100000 100000"}, 1.0),
        (
            V1.format("/a/b"),
            {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000", "cpu/a/b/tasks": ""},
            0.5,
        ),
        (V1.format("/a"), {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, None),
        (
            V1.format("/a") + V2.format("/"),  # both mounted, as systemd does in its "hybrid" mode
            {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000", "cpu.max": "400000 100000"},
            3.0,
        ),
        ("garbage\n::\n", {"cpu.max": "100000 100000"}, 1.0),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(
    own: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert cgroup_quota(tmp_path / "mount", tmp_path / "own") == quota


@pytest.mark.skipif(not OWN.exists(), reason="this system has no control groups")
def test_this_process_has_groups() -> None:
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0))


def tried(trial: ThreadTrial, calls: int, cost: Callable[[int, int], float]) -> list[int]:
    """The threads of each call. A call takes ``cost(number of the call, threads)``."""
    used = []
    for call in range(calls):
        used.append(trial.threads())
        trial.record(used[-1], cost(call, used[-1]))
    return used


def test_a_trial_uses_the_faster_and_looks_again() -> None:
    trial = ThreadTrial((4, 1))
    used = tried(trial, 2 * RETRY_EVERY, lambda call, threads: 2.0 if threads == 4 else 1.0)
    first = ([4] * TRIAL_CALLS + [1] * TRIAL_CALLS) * TRIAL_ROUNDS
    assert used[: len(first)] == first
    assert [call for call, threads in enumerate(used) if threads == 4 and call >= len(first)] == [
        RETRY_EVERY + call for call in range(RETRY_CALLS)
    ]


def test_trials_are_over_before_anything_is_timed() -> None:
    assert SETTLE_CALLS >= 2 * TRIAL_CALLS * TRIAL_ROUNDS


def test_a_busy_moment_does_not_decide() -> None:
    """Another process takes the second core for a third of the trial."""
    trial = ThreadTrial((2, 1))
    used = tried(trial, 100, lambda call, threads: {1: 1.0, 2: 3.0 if call < 2 * TRIAL_CALLS else 0.6}[threads])
    assert set(used[2 * TRIAL_CALLS * TRIAL_ROUNDS :]) == {2}


def test_two_threads_that_are_fast_now_and_then_are_not_the_faster_ones() -> None:
    trial = ThreadTrial((2, 1))
    used = tried(trial, 100, lambda call, threads: {1: 1.0, 2: 0.6 if call % 3 == 0 else 3.0}[threads])
    assert set(used[2 * TRIAL_CALLS * TRIAL_ROUNDS :]) == {1}


def test_what_became_faster_is_found() -> None:
    trial = ThreadTrial((2, 1))
    tried(trial, 100, lambda call, threads: {1: 1.0, 2: 3.0}[threads])
    assert tried(trial, 5 * RETRY_EVERY, lambda call, threads: {1: 1.0, 2: 0.6}[threads])[-1] == 2


@pytest.mark.parametrize(
    ("quota", "cpus"), [("max", 8), ("10000", 1), ("100000", 1), ("150000", 2), ("250000", 3), ("1600000", 8), ("0", 8)]
)
def test_a_fraction_is_rounded_up_and_affinity_is_the_limit(
    quota: str, cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    assert usable_cpus(tmp_path, tmp_path / "none") == cpus


def test_where_both_versions_are_mounted_the_smaller_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cgroup_quota(tmp_path, tmp_path / "none") == 4
    (tmp_path / "cpu.max").write_text("200000 100000")
    assert cgroup_quota(tmp_path, tmp_path / "none") == 2


def test_half_of_version_1_is_no_limit(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000")
    assert cgroup_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("siblings", "quota", "cores"),
    [
        (["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"], "max", 4),
        (["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"], "max", 6),  # cores of two kinds
        ([str(cpu) for cpu in range(8)], "max", 8),
        (["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"], "250000", 3),
        ([], "max", 8),  # a system that does not tell
    ],
)
def test_one_thread_for_a_core(
    siblings: list[str], quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for cpu, text in enumerate(siblings):
        (tmp_path / "cpus" / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / "cpus" / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(f"{text}\n")
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    nowhere = tmp_path / "none"
    assert default_threads("core", tmp_path / "cpus", tmp_path, nowhere) == cores
    assert default_threads("cpu", tmp_path / "cpus", tmp_path, nowhere) == usable_cpus(tmp_path, nowhere)


@pytest.mark.parametrize("threads", [0, -1, 65, 1000, 100_000, 10**6, 10**30, True, 2.5, "4", float("nan")])
def test_threads_that_are_none(threads: Any, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everywhere that takes them, before anything is read or started."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    bundle = bundle_of("static")
    takers: list[Callable[[], object]] = [
        lambda: load("no-such-folder", threads=threads),
        lambda: BertRuntime(bundle, engine=ONNXRUNTIME, threads=threads),
        lambda: PaddedPredictor(bundle, threads=threads),
        lambda: open_session(bundle.model_path, threads=threads),
        lambda: BenchSettings(threads=threads),
        lambda: TuneSettings(threads=(1, threads)),
    ]
    for take in takers:
        with pytest.raises(UsageError, match="^threads is .*, expected (1 to 64|a whole number)\nhint: leave it out"):
            take()


def test_as_many_threads_as_a_large_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 192)
    assert checked_threads(np.int64(192)) == 192  # type: ignore[arg-type]
    assert checked_threads(None) == threads_here()
    with pytest.raises(UsageError, match="expected 1 to 192"):
        checked_threads(193)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert checked_threads(64) == 64


@pytest.mark.parametrize(
    "command",
    [
        ["fill-mask", "B", "The [MASK]."],
        ["next-sentence", "B", "One.", "Two."],
        ["verify", "B"],
        ["bench", "B", "--reference", "M"],
        ["tune", "M", "-o", "T", "--max-kl", "1"],
    ],
)
def test_every_command_refuses_them(command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    done = typed(*command, "--threads", "100000")
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: threads is 100000, expected 1 to ")
    assert hint.startswith("hint: leave it out to use one per core")
    assert not list(tmp_path.iterdir())


def test_this_machine_has_no_more_cores_than_cpus() -> None:
    assert 1 <= default_threads("core") <= default_threads("cpu") == usable_cpus()
