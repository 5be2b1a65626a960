"""Latency of several models in sittings, until it is clear enough.

A sitting loads every model again and gives every workload a few rounds. The place of the weights in memory, the cores
of the threads and what the runtime found to be fastest stay the same while a model is loaded. So one loading of a
bundle can be some percent faster than another loading of the same bundle, however many rounds are measured; only more
loadings show it.
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

#: Sittings of a run, if enough rounds are asked for, and rounds of each.
SITTINGS, ROUNDS_PER_SITTING = 8, 3
#: Rounds grow by this share before their times are judged again.
GROWTH = 0.5
WARMUP = 3

Opener = Callable[[], Predictor]
#: Reports of each model, the reference first; one for each workload that was measured.
Reports = list[tuple[LatencyReport, ...]]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: of each workload, at least.
        max_rounds: of each workload, at most.
        seconds: after ``rounds``, no sitting begins that would end later than this.
    """

    rounds: int = SITTINGS * ROUNDS_PER_SITTING
    max_rounds: int = 400
    seconds: float = 45.0

    def __post_init__(self) -> None:
        if self.rounds < 2 or self.max_rounds < self.rounds or not self.seconds >= 0:
            raise UsageError(
                f"effort: {self.rounds} rounds, {self.max_rounds} at most, {self.seconds} seconds",
                "give 2 rounds or more, a maximum that is not smaller, and no negative time",
            )

    @property
    def rounds_per_sitting(self) -> int:
        """Few rounds are spread over many loadings."""
        return max(1, min(ROUNDS_PER_SITTING, self.rounds // SITTINGS))


class LatencyStudy:
    """Times that grow sitting by sitting and can be read at any moment.

    Args:
        openers: load a model; the first is the reference of the ratios.
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
        """Measure the wanted rounds, and then more until ``settled``, or until rounds or time are used up."""
        effort, start, longest, done = self._effort, time.monotonic(), 0.0, 0
        first, most = (math.ceil(n / effort.rounds_per_sitting) for n in (effort.rounds, effort.max_rounds))
        look = first
        while True:
            while done < look:
                began = time.monotonic()
                if done >= first and began - start + longest > effort.seconds:
                    return
                self._sit(done, look, listen)
                done += 1
                longest = max(longest, time.monotonic() - began)
            if done >= most or settled(self.reports()):
                return
            look = min(most, done + max(1, round(GROWTH * done)))

    def _sit(self, number: int, look: int, listen: Listener) -> None:
        opened = {index: self._openers[index]() for index in self._rng.permutation(len(self._openers))}
        models = [opened[index] for index in range(len(opened))]
        for step, index in enumerate(self._rng.permutation(len(self.grid))):
            workload = self.grid[index]
            share = (number + step / len(self.grid)) / look
            listen(share, f"timing {workload_name(workload)}, sitting {number + 1} of {look}")
            calls = [partial(model.predict, self._batches[index]) for model in models]
            seed = int(self._rng.integers(2**31))
            rounds = self._effort.rounds_per_sitting
            self._parts[index].append(
                interleave(calls, rounds=rounds, warmup=WARMUP, seed=seed, one_thread=self._threads == 1)
            )

    def timings(self, workload: int) -> list[Timing]:
        """One timing for each model: all sittings of the workload at a place in the grid."""
        return [
            Timing(
                blocks=np.concatenate([sitting[model].blocks for sitting in self._parts[workload]]),
                calls=np.concatenate([sitting[model].calls for sitting in self._parts[workload]]),
            )
            for model in range(len(self._openers))
        ]

    def reports(self) -> Reports:
        """What was measured so far; a workload with fewer than two sittings is left out."""
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
