"""How many threads a worker process of a job may use."""

from __future__ import annotations

import os
import re
import sys

from bertedge.engines.threads import checked_threads, threads_here, usable_cpus

#: What frameworks tell their workers with: Ray, Dask's workers and Spark's executors set it, as batch systems do.
OMP_NUM_THREADS = "OMP_NUM_THREADS"


def worker_threads(threads: int | None) -> int:
    """Threads of a worker: as given, or else the CPUs that Ray assigned to it, or else ``OMP_NUM_THREADS``.

    Without any of these it is :func:`bertedge.engines.threads.threads_here`, as everywhere. What is not given by the
    user is never more than the CPUs that the process may use.

    Raises:
        UsageError: ``threads`` is not a number of threads.
    """
    if threads is not None:
        return checked_threads(threads)
    assigned = _ray_cpus() or _omp_threads()
    return threads_here() if assigned is None else max(1, min(assigned, usable_cpus()))


def _ray_cpus() -> int | None:
    """The CPUs that Ray assigned to this worker, rounded down, at least 1; None outside its workers."""
    ray = sys.modules.get("ray")  # a worker of Ray has imported it
    if ray is None or not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    if context.worker.mode != ray.WORKER_MODE:
        return None
    return max(1, int(context.get_assigned_resources().get("CPU", 1)))


def _omp_threads() -> int | None:
    """The first number of ``OMP_NUM_THREADS``, which may be a list for nested loops; None where there is none."""
    found = re.match(r"\s*(\d+)", os.environ.get(OMP_NUM_THREADS, ""))
    return int(found[1]) if found else None
