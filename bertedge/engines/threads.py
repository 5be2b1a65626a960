"""How many threads this process may use."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from bertedge.errors import UsageError
from bertedge.target import this_target

#: Threads that every machine allows, even with fewer CPUs. Each costs memory, and all of them wait for each other at
#: every operator: on two CPUs, 1000 threads take 25 s to start, and 100,000 take 17 GB.
MOST_THREADS = 64
CGROUP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
CPUS = Path("/sys/devices/system/cpu")


def usable_cpus(cgroup: Path = CGROUP, own: Path = OWN) -> int:
    """The CPUs that this process may use: by its affinity, and at most the container's quota."""
    return _within_quota(len(_affinity()), cgroup, own)


def default_threads(
    one_for_every: Literal["cpu", "core"], cpus: Path = CPUS, cgroup: Path = CGROUP, own: Path = OWN
) -> int:
    """Threads of an operator by default.

    Two CPUs of one core share its vector units, which one thread of a matmul keeps busy. onnxruntime's own default is
    one thread for each core as well.

    Args:
        cpus: the folder in which the system describes its CPUs.
    """
    if one_for_every == "cpu":
        return usable_cpus(cgroup, own)
    return _within_quota(len({_core(cpus, cpu) for cpu in _affinity()}), cgroup, own)


def threads_here() -> int:
    """:func:`default_threads` on this CPU: the default everywhere in bertedge."""
    return default_threads(this_target().threads)


def checked_threads(threads: int | None) -> int:
    """Check a number of threads from the user; None becomes :func:`threads_here`.

    Raises:
        UsageError: it is not a whole number, is below 1, or is above both :data:`MOST_THREADS` and the machine's CPUs.
    """
    if threads is None:
        return threads_here()
    most = max(MOST_THREADS, os.cpu_count() or 1)
    hint = f"leave it out to use one per core; this process may use {usable_cpus()} CPUs"
    try:
        number = operator.index(threads)
    except TypeError:
        raise UsageError(f"threads is {threads!r}, expected a whole number", hint) from None
    if isinstance(threads, bool) or not 1 <= number <= most:
        raise UsageError(f"threads is {threads}, expected 1 to {most}", hint)
    return number


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _within_quota(threads: int, cgroup: Path, own: Path) -> int:
    quota = cgroup_quota(cgroup, own)
    return max(1, threads if quota is None else min(threads, math.ceil(quota)))


def _core(cpus: Path, cpu: int) -> str:
    """The list of the CPUs that share a core with this one. Without such a list, each CPU counts as a core."""
    try:
        return (cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def cgroup_quota(cgroup: Path = CGROUP, own: Path = OWN) -> float | None:
    """The number of CPUs that the control groups allow, such as 2.5; None without a limit.

    A group's limit holds for all groups below it, so the smallest limit from the process's own group up to the root
    counts.

    Args:
        cgroup: the folder in which the hierarchies of version 2 and version 1 are mounted.
        own: the list of the process's groups, one ``id:controllers:path`` a line; version 2 has no controllers.
    """
    unified, cpu = _own_groups(own)
    quotas = [
        *(_version_2(folder) for folder in _upwards(cgroup, unified)),
        *(_version_1(folder) for folder in _upwards(cgroup / "cpu", cpu)),
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def _own_groups(own: Path) -> tuple[PurePosixPath, PurePosixPath]:
    """The process's group in the unified hierarchy and in version 1's ``cpu``; the root where it is not listed."""
    unified = cpu = PurePosixPath("/")
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers and path:
            unified = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            cpu = PurePosixPath(path)
    return unified, cpu


def _upwards(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    """Folders of a group and of all groups above it.

    Inside a container the path may be the host's, which the container does not see. Then only the root exists.
    """
    for path in (group, *group.parents):
        folder = mount / str(path).lstrip("/")
        if ".." not in path.parts and folder.is_dir():
            yield folder


def _version_2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        return None
    return _granted(quota, period)


def _version_1(folder: Path) -> float | None:
    try:
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
    except (OSError, ValueError):
        return None
    return _granted(quota, period)


def _granted(quota: str, period: str) -> float | None:
    """The quota in CPUs; None for no limit, which is "max" in version 2 and -1 in version 1."""
    try:
        granted = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):
        return None
    return granted if 0 < granted < math.inf else None
