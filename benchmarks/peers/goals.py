"""The goals of the comparison with peers, and whether the results of a run meet them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bertedge.metric import MetricValue
from peers.models import SUFFIX
from peers.table import FAITHFUL, NATIVE, STATIC, of_kernel, ours_of

Results = dict[str, dict[str, Any]]
#: Ways to go through all sentences.
WAYS = {"usual": "sentences, against usual batches", "fastest": "sentences, against its fastest"}
#: In place of a peer: the one with the largest ratio, of both ways through the sentences.
FASTEST_PEER = "the fastest peer"
#: In place of a workload: the one with the largest ratio.
WORST = "every length"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A row of bertedge takes at most ``limit`` of a peer's time.

    Attributes:
        kernel: the native engine's, if the goal is for one: the row is then that of the kernel.
    """

    models: tuple[str, ...]
    what: str
    peer: str
    limit: float
    own: str = NATIVE
    kernel: str = ""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A row's fidelity on a model: at most ``limit``, or at least."""

    model: str
    own: str
    metric: str
    limit: float
    at_least: bool = False


LARGE, SMALL, BUILT_IN = ("random-12x768",), ("english-l6", "random-6x384"), ("bertedge-small-en",)
AMX, VNNI = "amx", "avx512-vnni"


def _both(work: str, models: tuple[str, ...], peer: str, limit: float) -> tuple[Goal, Goal]:
    """A goal on AMX for words at masked positions, and for vectors."""
    words, vectors = (
        Goal(models=models, what=what, peer=peer, limit=limit, kernel=AMX) for what in (work, work + SUFFIX)
    )
    return words, vectors


GOALS = (
    *_both("16 tokens", LARGE, "OpenVINO int8", 0.40),
    *_both("128 tokens", LARGE, "OpenVINO int8", 0.50),
    *_both("16 tokens", LARGE, STATIC, 0.40),
    *_both("128 tokens", LARGE, STATIC, 0.40),
    *_both("16 tokens", LARGE, "Optimum int8", 0.22),
    *_both("128 tokens", LARGE, "Optimum int8", 0.22),
    *_both("16 tokens", BUILT_IN, "OpenVINO int8", 0.25),
    *_both("128 tokens", BUILT_IN, "OpenVINO int8", 0.38),
    *_both("16 tokens", BUILT_IN, STATIC, 0.27),
    *_both("128 tokens", BUILT_IN, STATIC, 0.30),
    *_both("32 sentences", (*SMALL, *BUILT_IN), STATIC, 0.33),
    Goal(models=(*SMALL, *BUILT_IN), what="fastest", peer=FASTEST_PEER, limit=0.40, kernel=AMX),
    Goal(models=(*SMALL, *BUILT_IN), what=WORST, peer=STATIC, limit=0.55, kernel=VNNI),
    Goal(models=LARGE, what="16 tokens", peer=STATIC, limit=0.65, kernel=VNNI),
    Goal(models=LARGE, what=WORST, peer=STATIC, limit=1.00, kernel=VNNI),
    Goal(models=BUILT_IN, what=WORST, own=FAITHFUL, peer=NATIVE, limit=1.30),
    Goal(models=LARGE, what="16 tokens", own=STATIC, peer="Optimum int8", limit=0.80),
    Goal(models=LARGE, what="128 tokens", own=STATIC, peer="Optimum int8", limit=0.80),
    Goal(models=LARGE, what="16 tokens", own=STATIC, peer="OpenVINO int8", limit=0.95),
    Goal(models=LARGE, what="128 tokens", own=STATIC, peer="OpenVINO int8", limit=1.15),
    Goal(models=BUILT_IN, what="128 tokens", own=STATIC, peer="Optimum int8", limit=0.42),
    Goal(models=SMALL, what="usual", own=STATIC, peer="Optimum int8", limit=0.28),
    Goal(models=SMALL, what="fastest", own=STATIC, peer="CTranslate2 int8", limit=0.60),
)
QUALITIES = (
    Quality(model="bertedge-small-en", own=NATIVE, metric="mlm.kl_mean", limit=0.0008),
    Quality(model="bertedge-small-en", own=NATIVE, metric="mlm.top1_agreement", limit=0.975, at_least=True),
    Quality(model="bertedge-small-en", own=FAITHFUL, metric="mlm.kl_mean", limit=0.0003),
)


def lines(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Cells of the goals of rows that were measured: model, work, row, compared with, goal, reached, whether it is met.

    Args:
        report: as ``peers.kept.read`` returns it.
    """
    models = {model["name"]: model["results"] for model in report["models"]}
    for goal in GOALS:
        own = row_of(goal, report)
        for name in goal.models:
            if own in models.get(name, {}):
                reached = _reached(goal, own, models[name], report)
                cells = (WAYS.get(goal.what, goal.what), own, goal.peer, f"{goal.limit:.2f}")
                verdict = _elsewhere(goal, report) or (
                    "not measured" if reached is None else judged(reached, goal.limit)
                )
                yield name, *cells, "-" if reached is None else interval(reached), verdict
    for quality in QUALITIES:
        result = models.get(quality.model, {}).get(quality.own)
        if result is not None:
            found = result["fidelity"].get(quality.metric)
            bound = f"{'at least' if quality.at_least else 'at most'} {quality.limit:g}"
            reached_cell = "-" if found is None else f"{found['value']:.4g} ({found['low']:.4g} to {found['high']:.4g})"
            cells = (quality.metric, quality.own, "float32", bound, reached_cell)
            yield quality.model, *cells, "not measured" if found is None else _held(quality, MetricValue(**found))


def row_of(goal: Goal, report: Mapping[str, Any]) -> str:
    """The row that a goal is for: that of its kernel, unless that is the best one or not on this CPU."""
    kernels = report.get("kernels", [])
    return of_kernel(goal.kernel) if goal.kernel in kernels[1:] else goal.own


def _elsewhere(goal: Goal, report: Mapping[str, Any]) -> str:
    """If a goal is for another CPU: which."""
    return f"the goal is for {goal.kernel}" if goal.kernel not in ("", *report.get("kernels", [])) else ""


def _reached(goal: Goal, own: str, results: Results, report: Mapping[str, Any]) -> MetricValue | None:
    """The ratio that is compared with the limit: for several peers or workloads the largest."""
    peers = [name for name in results if not name.startswith("bertedge")] if goal.peer == FASTEST_PEER else [goal.peer]
    whats = tuple(WAYS) if goal.peer == FASTEST_PEER else (goal.what,)
    if goal.what == WORST:
        whats = tuple(results[own]["ms"]) if own in results else ()
    compared = "" if own == ours_of(report) else own
    found = [ratio_to(results, peer, what, compared) for peer in peers for what in whats]
    return max((ratio for ratio in found if ratio is not None), key=lambda ratio: ratio.value, default=None)


def ratio_to(results: Results, peer: str, what: str, own: str = "") -> MetricValue | None:
    """Our time to a peer's, on a workload, or over all sentences.

    Args:
        own: a row of bertedge; empty for the one that all peers are compared with.
    """
    if peer not in results:
        return None
    kept = results[peer].get("ratios_of", {}).get(own, {}) if own else results[peer]["ratios"]
    return MetricValue(**kept[what]) if what in kept else None


def judged(ratio: MetricValue, limit: float) -> str:
    """Whether a ratio meets its goal."""
    if ratio.value > limit:
        return "**not met**"
    if ratio.n == 1:
        return "met, in one pass"
    return "met" if ratio.high <= limit else "met, within the noise"


def _held(quality: Quality, value: MetricValue) -> str:
    """Whether a metric meets its goal."""
    sign = -1 if quality.at_least else 1
    if sign * value.value > sign * quality.limit:
        return "**not met**"
    worst = value.low if quality.at_least else value.high
    return "met" if sign * worst <= sign * quality.limit else "met, within the noise"


def interval(ratio: MetricValue) -> str:
    """A ratio with its interval."""
    return f"{ratio.value:.2f} " + (f"({ratio.low:.2f} to {ratio.high:.2f})" if ratio.n > 1 else "(one pass)")
