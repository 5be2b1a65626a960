"""How much ``bench`` measures, and what it judges by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bertedge.engines import AUTO, engine_named
from bertedge.engines.threads import checked_threads
from bertedge.errors import UsageError
from bertedge.evaluate.cold_start import STARTS
from bertedge.evaluate.latency import DEFAULT_GRID, Workload
from bertedge.evaluate.study import Effort
from bertedge.recipe import require_examples
from bertedge.report.budget import DEFAULTS, Budgets
from bertedge.report.schema import Report


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How much to measure.

    Attributes:
        examples: sentence pairs that outputs are compared on.
        max_length: tokens of a pair at most.
        effort: timed rounds of each workload.
        engines: every candidate is measured on each; see :data:`bertedge.engines.ENGINES`.
        threads: threads an operator may use; None for what :func:`bertedge.load` takes.
        starts: fresh processes of each model; at most as many as rounds.
    """

    examples: int = 256
    max_length: int = 128
    effort: Effort = field(default_factory=Effort)
    grid: tuple[Workload, ...] = DEFAULT_GRID
    engines: tuple[str, ...] = (AUTO,)
    threads: int | None = None
    seed: int = 0
    starts: int = STARTS

    def __post_init__(self) -> None:
        require_examples(self.examples)
        if self.max_length < 8 or self.starts < 1:
            raise UsageError(f"bench: {self.max_length} tokens, {self.starts} starts", "at least 8 tokens, and 1 start")
        checked_threads(self.threads)
        if not self.engines:
            raise UsageError("bench: no engine", "name one, or auto")
        for name in self.engines:
            if name != AUTO:
                engine_named(name)


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What candidates will be judged by: an earlier report, a bundle that is measured beside them, or times by this
    and the rest by that.

    While a latency verdict is inconclusive, measuring goes on.
    """

    baseline: Report | None = None
    against: str | Path | None = None
    budgets: Budgets = field(default_factory=lambda: dict(DEFAULTS))
