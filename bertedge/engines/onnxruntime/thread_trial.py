"""Which number of threads is faster for calls of one size."""

from __future__ import annotations

import math
import statistics

#: Consecutive calls that try one number of threads, and how often each number gets such a series.
TRIAL_CALLS, TRIAL_ROUNDS = 4, 3
#: Later calls from one retry of the slower number to the next, and its calls: 0.5 %, which the 99th percentile hides.
RETRY_EVERY, RETRY_CALLS = 600, 3


class ThreadTrial:
    """Finds the faster of two numbers of threads for calls of one size, and tries the slower one again now and then.

    A process that uses a core for a moment can make the wrong number look faster. So each number is tried at
    several moments, the median of its latest times counts, and the slower one is tried again among later calls. The
    smallest time would be misleading: next to a process that keeps a core busy, two threads are sometimes fast, but
    usually slow.
    """

    def __init__(self, choices: tuple[int, int]) -> None:
        self._latest: dict[int, tuple[float, ...]] = dict.fromkeys(choices, ())
        self._first = [threads for _ in range(TRIAL_ROUNDS) for threads in choices for _ in range(TRIAL_CALLS)]
        self._calls = 0

    def threads(self) -> int:
        """The number to use for the next call."""
        if self._calls < len(self._first):
            return self._first[self._calls]
        faster, slower = sorted(self._latest, key=self._cost)
        return slower if self._calls % RETRY_EVERY < RETRY_CALLS else faster

    def _cost(self, threads: int) -> float:
        latest = self._latest[threads]
        return statistics.median(latest) if latest else math.inf

    def record(self, threads: int, cost: float) -> None:
        """Add the time of a call."""
        self._calls += 1
        self._latest[threads] = (*self._latest[threads], cost)[-TRIAL_CALLS * TRIAL_ROUNDS :]
