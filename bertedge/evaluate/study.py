"""Latency of several models, measured in sittings until it is precise enough.

A sitting loads every model again and measures a few rounds of every workload. While a model stays loaded, the addresses
of its weights, the cores of its threads and the settings that the runtime chose do not change. So two loads of the same
bundle can differ by some percent, and more rounds do not show this. Only more loads do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.errors import UsageError
from bertedge.evaluate.latency import (
    LatencyReport,
    Timing,
    Workload,
    interleave,
    latency_report,
    workload_batch,
    workload_name,
)
from bertedge.predictor import Predictor
from bertedge.progress import Listener

#: The number of sittings, if enough rounds are asked for, and the rounds of a sitting.
SITTINGS, ROUNDS_PER_SITTING = 8, 3
#: The number of rounds grows by this share before the times are judged again.
GROWTH = 0.5
WARMUP = 3

Opener = Callable[[], Predictor]
#: The reports of each model, one for each measured workload. The reference is first.
Reports = list[tuple[LatencyReport, ...]]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: the least rounds of each workload.
        max_rounds: the most rounds of each workload.
        seconds: after ``rounds``, no sitting starts that would end later than this.
    """

    rounds: int = SITTINGS * ROUNDS_PER_SITTING
    max_rounds: int = 400
    seconds: float = 45.0

    def __post_init__(self) -> None:
        if self.rounds < 2 or self.max_rounds < self.rounds or not self.seconds >= 0:
            raise UsageError(
                f"effort: {self.rounds} rounds, {self.max_rounds} at most, {self.seconds} seconds",
                "give 2 rounds or more, a maximum of at least that, and a time of 0 or more",
            )

    @property
    def rounds_per_sitting(self) -> int:
        """Rounds of a sitting; if there are few rounds, they are spread over many sittings."""
        return max(1, min(ROUNDS_PER_SITTING, self.rounds // SITTINGS))


class LatencyStudy:
    """Measures times sitting by sitting. The reports so far can be read at any time.

    Args:
        openers: functions that load a model. The first model is the reference of the ratios.
    """

    def __init__(
        self,
        openers: Sequence[Opener],
        grid: Sequence[Workload],
        corpus: TokenizedCorpus,
        layout: Layout,
        *,
        threads: int,
        effort: Effort,
        seed: int = 0,
    ) -> None:
        self.grid = tuple(grid)
        self._openers, self._threads, self._effort = tuple(openers), threads, effort
        self._batches = [workload_batch(workload, corpus, layout) for workload in grid]
        self._rng = np.random.default_rng(seed)
        self._parts: list[list[list[Timing]]] = [[] for _ in grid]  # [workload][sitting][model]

    def run(self, settled: Callable[[Reports], bool], listen: Listener) -> None:
        """Measure ``rounds`` rounds, then more until ``settled`` returns True or rounds or time are used up."""
        effort, start, longest, done = self._effort, time.monotonic(), 0.0, 0
        first, most = (math.ceil(n / effort.rounds_per_sitting) for n in (effort.rounds, effort.max_rounds))
        planned = first
        while True:
            while done < planned:
                began = time.monotonic()
                if done >= first and began - start + longest > effort.seconds:
                    return
                self._sit(done, planned, listen)
                done += 1
                longest = max(longest, time.monotonic() - began)
            if done >= most or settled(self.reports()):
                return
            planned = min(most, done + max(1, round(GROWTH * done)))

    def _sit(self, number: int, planned: int, listen: Listener) -> None:
        opened = {index: self._openers[index]() for index in self._rng.permutation(len(self._openers))}
        models = [opened[index] for index in range(len(opened))]
        for step, index in enumerate(self._rng.permutation(len(self.grid))):
            workload = self.grid[index]
            share = (number + step / len(self.grid)) / planned
            listen(share, f"timing {workload_name(workload)}, sitting {number + 1} of {planned}")
            calls = [partial(model.predict, self._batches[index]) for model in models]
            seed = int(self._rng.integers(2**31))
            rounds = self._effort.rounds_per_sitting
            self._parts[index].append(
                interleave(calls, rounds=rounds, warmup=WARMUP, seed=seed, one_thread=self._threads == 1)
            )

    def timings(self, workload: int) -> list[Timing]:
        """One timing for each model, over all sittings of a workload. ``workload`` is an index into the grid."""
        return [
            Timing(
                blocks=np.concatenate([sitting[model].blocks for sitting in self._parts[workload]]),
                calls=np.concatenate([sitting[model].calls for sitting in self._parts[workload]]),
            )
            for model in range(len(self._openers))
        ]

    def reports(self) -> Reports:
        """The reports so far. A workload with fewer than two sittings is left out."""
        reports: list[list[LatencyReport]] = [[] for _ in self._openers]
        for index, workload in enumerate(self.grid):
            if len(self._parts[index]) < 2:
                continue
            timings = self.timings(index)
            for own, report in zip(timings, reports, strict=True):
                report.append(
                    latency_report(
                        workload,
                        own,
                        timings[0],
                        threads=self._threads,
                        warmup=WARMUP,
                        rounds_per_sitting=self._effort.rounds_per_sitting,
                    )
                )
        return [tuple(report) for report in reports]

    def missing(self) -> list[Workload]:
        """Workloads with too few sittings for a report."""
        return [workload for workload, parts in zip(self.grid, self._parts, strict=True) if len(parts) < 2]
