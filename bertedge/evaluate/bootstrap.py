"""Metrics of what was seen, each with a 95 % bootstrap interval.

Positions of one text are not independent of each other, so whole texts are resampled (Efron and Tibshirani 1993, ch.
8). An event that was never seen is in no resample. So where few events were seen, or none, intervals of shares reach as
far as :func:`largest_share`, which takes events for independent.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bertedge.evaluate.metrics import METRICS
from bertedge.metric import Change, Floats, Metric, MetricValue

RESAMPLES = 1000
#: Events that are too few for the bootstrap to know how many more there may be.
FEW_EVENTS = 5
SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One group of observations of a candidate, next to its reference.

    Attributes:
        values: quantity -> one number for each observation, such as a masked position, a pair or a text.
        text: the text that each observation belongs to.
    """

    values: dict[str, Floats]
    text: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """What was seen of a candidate next to its reference.

    Attributes:
        groups: group of :class:`bertedge.metric.Metric` -> what was seen; only of heads that both models have, and that
            the texts have labels for.
        texts: how many texts there were.
    """

    groups: dict[str, Seen]
    texts: int


def estimate_all(
    seen: Observations, *, names: Collection[str] = tuple(METRICS), resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, MetricValue]:
    """Every metric of the names that there are observations for, with its bootstrap interval."""
    counts = _resampled(seen.texts, resamples, seed)
    values = {}
    for name in names:
        metric = METRICS[name]
        if own := _observed(metric, seen):
            values[name] = _with_the_unseen(_interval(_draws(metric, own, counts), len(own.text)), metric.bounds)
    return values


def estimate_changes(
    new: Observations, old: Observations, *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Change]:
    """How each metric of a model differs from that of another one, where both have the head.

    A text that is hard for the one is hard for the other, so each draw has the same texts for both, and the interval
    is much narrower than that of two samples.

    Args:
        new, old: observations on the same texts and positions.
    """
    counts = _resampled(new.texts, resamples, seed)
    changes = {}
    for name, metric in METRICS.items():
        mine, its = _observed(metric, new), _observed(metric, old)
        if mine and its and len(mine.text) == len(its.text):
            changes[name] = _change(metric, mine, its, counts)
    return changes


def _change(metric: Metric, new: Seen, old: Seen, counts: Floats) -> Change:
    n = len(new.text)
    mine, its = (np.maximum(_draws(metric, seen, counts), metric.floor) for seen in (new, old))
    ratio = _interval(mine / its, n) if (its > 0).all() else None
    difference = _with_the_unseen(_interval(mine - its, n), _of_differences(metric.bounds))
    return Change(difference=difference, ratio=ratio)


def estimate(name: str, seen: Observations) -> float | None:
    """One metric without its interval; None where there are no observations of its head."""
    metric = METRICS[name]
    own = _observed(metric, seen)
    return metric.estimate.prepare(own.values)(np.ones(len(own.text))) if own else None


def _observed(metric: Metric, seen: Observations) -> Seen | None:
    """The observations that a metric is made of; None where there are none."""
    own = seen.groups.get(metric.group)
    if own is None or not len(own.text) or not own.values.keys() >= {*metric.estimate.quantities}:
        return None
    return own


def _resampled(texts: int, resamples: int, seed: int) -> Floats:
    """(draws, texts): how often each text is in each draw."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(texts, np.full(texts, 1 / texts), size=resamples).astype(np.float64)


def _draws(metric: Metric, seen: Seen, counts: Floats) -> Floats:
    """The metric's value as observed, and then that of each draw that has an observation."""
    estimate = metric.estimate.prepare(seen.values)
    drawn = (weights for weights in (row[seen.text] for row in counts) if weights.any())
    return np.array([estimate(np.ones(len(seen.text))), *map(estimate, drawn)])


def _interval(draws: Floats, n: int) -> MetricValue:
    """Of values as :func:`_draws` gives them."""
    value, (low, high) = float(draws[0]), map(float, np.quantile(draws[1:], [0.025, 0.975]))
    # the draws of a skewed metric may all lie on one side of what was observed, which is no less possible for that
    return MetricValue(value=value, low=min(low, value), high=max(high, value), n=n)


def _with_the_unseen(estimate: MetricValue, bounds: tuple[float, float] | None) -> MetricValue:
    """The interval of a mean of events, of which the bootstrap knows too little where few were seen."""
    if bounds is None:
        return estimate
    value, n, (least, most) = estimate.value, estimate.n, bounds
    # a share rises by more of its events, and falls by more of the others; a difference has both kinds on either side
    more, fewer = (value * n, (1 - value) * n) if least == 0 else (abs(value) * n,) * 2
    high = max(estimate.high, min(value + _reach(more, n), most))
    low = min(estimate.low, max(value - _reach(fewer, n), least))
    return replace(estimate, low=low, high=high)


def _reach(events: float, n: int) -> float:
    """How far above its estimate a share may lie of which so many events were seen, if they are few."""
    return largest_share(events, n) - events / n if events <= FEW_EVENTS else 0.0


def largest_share(events: float, n: int) -> float:
    """The largest share that an event may have which was seen a few times, or never, in ``n`` observations.

    The upper end of the 95 % interval of Jeffreys (Brown, Cai and DasGupta 2001, "Interval estimation for a binomial
    proportion"), the 0.975 quantile of Beta(events + 1/2, n - events + 1/2), to 3 %: a quantile of chi-squared with
    2 events + 1 degrees of freedom by Wilson and Hilferty's cube, over 2 n.
    """
    freedom = 2 * events + 1
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + NormalDist().inv_cdf(0.975) * math.sqrt(spread)) ** 3
    return -math.expm1(-quantile / (2 * n + 0.5 - events))


def _of_differences(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])
