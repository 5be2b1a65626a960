"""Entries that were never measured, for rules that are about numbers only."""

from __future__ import annotations

from bertedge.manifest import Coverage
from bertedge.metric import MetricValue
from bertedge.recipe import QuantizationRecipe
from bertedge.tuning.candidates import Candidate
from bertedge.tuning.measured import Entry, Timed


def exactly(value: float) -> MetricValue:
    return MetricValue(value=value, low=value, high=value, n=1)


def entry(
    name: str = "e",
    *,
    kl: float = 0.001,
    ms: float = 5.0,
    ratio: float | MetricValue | None = None,
    mb: float = 10.0,
    model: int = 0,
    stage: int = 0,
    recipe: QuantizationRecipe | None = None,
    samples_ms: tuple[float, ...] = (),
) -> Entry:
    timed = ratio if isinstance(ratio, MetricValue) else exactly(ms / 10 if ratio is None else ratio)
    fastest = Timed(threads=2, p50_ms=ms, p95_ms=ms, calls=9, ratio=timed, samples_ms=samples_ms)
    return Entry(
        model=model,
        name=name,
        stage=stage,
        recipe=recipe or QuantizationRecipe(),
        folder=name,
        sha256=name,
        size_bytes=int(mb * 1e6),
        coverage=Coverage(macs=1.0, bytes=1.0),
        fidelity={"mlm.kl_mean": exactly(kl)},
        latency=(fastest,),
    )


def entry_of(candidate: Candidate, **numbers: float) -> Entry:
    return entry(candidate.name, model=candidate.model, stage=candidate.stage, recipe=candidate.recipe, **numbers)  # type: ignore[arg-type]
