"""Settings of ``bench``: how much to measure, and what judges the result."""

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
        examples: sentence pairs, or single texts, to compare outputs on; default: 256 of running text, and all of the
            user's own texts, up to 5000.
        max_length: the most tokens of a text that is cut from running text.
        effort: timed rounds of each workload.
        engines: every candidate is measured on each; see :data:`bertedge.engines.ENGINES`.
        threads: threads of a call; None for the default of :func:`bertedge.load`.
        starts: new processes of each model; at most the number of rounds.
    """

    examples: int | None = None
    max_length: int = 128
    effort: Effort = field(default_factory=Effort)
    grid: tuple[Workload, ...] = DEFAULT_GRID
    engines: tuple[str, ...] = (AUTO,)
    threads: int | None = None
    seed: int = 0
    starts: int = STARTS

    def __post_init__(self) -> None:
        require_examples(1 if self.examples is None else self.examples)
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
    """What judges the candidates; see :mod:`bertedge.report.gate`. Rounds are added until latency verdicts are decided.

    Attributes:
        baseline: an earlier report.
        against: an earlier bundle, to be measured in the same rounds.
        budgets: how much worse a metric may get.
    """

    baseline: Report | None = None
    against: str | Path | None = None
    budgets: Budgets = field(default_factory=lambda: dict(DEFAULTS))
