"""Measure what the detection of the CPU and the checks add to loading a bundle, without hashing.

    python benchmarks/loader_overhead.py BUNDLE [--rounds 200]

The budget is 5 ms for everything but the hashes, which --no-verify and check=False skip.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from bertedge.bundle import Bundle
from bertedge.cpu import numpy_features, this_cpu
from bertedge.engines import AUTO, choose_engine
from bertedge.engines.threads import threads_here

BUDGET_MS = 5.0


def milliseconds(act: Callable[[], object], rounds: int) -> list[float]:
    """Sorted durations of calls."""
    samples = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        samples.append(1000 * (time.perf_counter() - start))
    return sorted(samples)


def main() -> None:
    """Measure each part, print the table and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)

    counted = {
        "detection from /proc/cpuinfo": this_cpu.__wrapped__,
        "manifest, its digest, sizes of the files": lambda: Bundle.open(arguments.bundle, check=False),
        "engine, target and versions": lambda: choose_engine(AUTO, bundle.manifest),
        "default threads": threads_here,
    }
    separate = {"detection from numpy": numpy_features, "hashes": bundle.check_files}
    total = 0.0
    print("| part | p50, ms | p99, ms |\n| --- | --- | --- |")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, act in (counted | separate).items():
            samples = milliseconds(act, arguments.rounds)
            p99 = samples[int(0.99 * (len(samples) - 1))]
            total += p99 if name in counted else 0.0
            print(
                f"| {name}{'' if name in counted else ' (separately)'} | {statistics.median(samples):.3f} | {p99:.3f} |"
            )
    print(f"\nsum of the p99 of the counted parts: {total:.2f} ms, budget {BUDGET_MS:g} ms")


if __name__ == "__main__":
    main()
