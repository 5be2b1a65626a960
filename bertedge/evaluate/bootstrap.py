"""Metrics of observations, each with a 95 % bootstrap interval.

Positions of one text are not independent of each other, so whole texts are resampled (Efron and Tibshirani 1993, ch.
8). Texts that a head compares with each other, such as the documents of a query, are resampled together. An event that
was never observed is in no resample. So if few events were observed, the interval of a share is extended to
:func:`largest_share`, which treats events as independent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bertedge.evaluate.intervals import beta_quantile
from bertedge.evaluate.metrics import METRICS
from bertedge.metric import Change, Floats, Metric, MetricValue

RESAMPLES = 1000
#: With this many events or fewer, the bootstrap underestimates how frequent they can be.
FEW_EVENTS = 5
SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One group of observations of a candidate and its reference.

    Attributes:
        values: quantity -> a number for each observation: a masked position, a pair or a text; shape (N,).
        text: index of each observation's text, shape (N,).
        together: equal numbers for observations of texts that are resampled together, shape (N,); None if each text
            stands alone.
    """

    values: dict[str, Floats]
    text: NDArray[np.int64]
    together: NDArray[np.int64] | None = None

    @property
    def drawn_with(self) -> NDArray[np.int64]:
        """The text that decides how often each observation is in a resample, shape (N,)."""
        if self.together is None:
            return self.text
        _, first, place = np.unique(self.together, return_index=True, return_inverse=True)
        return self.text[first][place]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Observations of a candidate and its reference.

    Attributes:
        groups: group of :class:`bertedge.metric.Metric` -> its observations. Only heads that
            both models have, and that the texts have labels for.
        texts: number of texts.
    """

    groups: dict[str, Seen]
    texts: int

    def of_texts(self, chosen: NDArray[np.bool_]) -> Observations:
        """The observations of some texts; groups that have none are left out.

        Args:
            chosen: shape (texts,).
        """
        index = np.cumsum(chosen) - 1
        groups = {}
        for name, seen in self.groups.items():
            kept = chosen[seen.text]
            if kept.any():
                values = {quantity: array[kept] for quantity, array in seen.values.items()}
                together = None if seen.together is None else seen.together[kept]
                groups[name] = Seen(values=values, text=index[seen.text[kept]], together=together)
        return Observations(groups=groups, texts=int(chosen.sum()))


def estimate_all(
    seen: Observations, *, names: Collection[str] = tuple(METRICS), resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, MetricValue]:
    """Every metric among ``names`` that has observations, with its bootstrap interval."""
    counts = _resampled(seen.texts, resamples, seed)
    values = {}
    for name in names:
        metric = METRICS[name]
        if own := _observed(metric, seen):
            drawn = _interval(_draws(metric, own, counts), metric.estimate.n(own.values))
            values[name] = _with_the_unseen(drawn, metric.bounds)
    return values


def estimate_changes(
    new: Observations, old: Observations, *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Change]:
    """How each metric differs between two models that both have its head.

    A text that is hard for one model is hard for the other too. So each resample has the same texts for both models.
    This makes the interval much narrower than that of two separate samples.

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
    n = metric.estimate.n(new.values)
    mine, its = (np.maximum(_draws(metric, seen, counts), metric.floor) for seen in (new, old))
    ratio = _interval(mine / its, n) if (its > 0).all() else None
    difference = _with_the_unseen(_interval(mine - its, n), _of_differences(metric.bounds))
    return Change(difference=difference, ratio=ratio)


def estimate(name: str, seen: Observations) -> float | None:
    """One metric without its interval; None if its head has no observations."""
    metric = METRICS[name]
    own = _observed(metric, seen)
    return metric.estimate.prepare(own.values)(np.ones(len(own.text))) if own else None


def _observed(metric: Metric, seen: Observations) -> Seen | None:
    """The observations that a metric needs; None if some are missing, or if they hold nothing to count."""
    own = seen.groups.get(metric.group)
    if own is None or not len(own.text) or not own.values.keys() >= {*metric.estimate.quantities}:
        return None
    return own if metric.estimate.n(own.values) else None


def _resampled(texts: int, resamples: int, seed: int) -> Floats:
    """How often each text is in each resample, shape (resamples, texts)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(texts, np.full(texts, 1 / texts), size=resamples).astype(np.float64)


def _draws(metric: Metric, seen: Seen, counts: Floats) -> Floats:
    """The metric's observed value, then its value in each resample that has an observation."""
    estimate, texts = metric.estimate.prepare(seen.values), seen.drawn_with
    drawn = (weights for weights in (row[texts] for row in counts) if weights.any())
    return np.array([estimate(np.ones(len(seen.text))), *map(estimate, drawn)])


def _interval(draws: Floats, n: int) -> MetricValue:
    """The observed value and the interval of its resamples, as :func:`_draws` returns them."""
    value, (low, high) = float(draws[0]), map(float, np.quantile(draws[1:], [0.025, 0.975]))
    # all resamples of a skewed metric can lie on one side of the observed value
    return MetricValue(value=value, low=min(low, value), high=max(high, value), n=n)


def _with_the_unseen(estimate: MetricValue, bounds: tuple[float, float] | None) -> MetricValue:
    """A wider interval for a share whose events are too few for the bootstrap."""
    if bounds is None:
        return estimate
    value, n, (least, most) = estimate.value, estimate.n, bounds
    # events raise a share and their complement lowers it; a difference has events in both directions
    more, fewer = (value * n, (1 - value) * n) if least == 0 else (abs(value) * n,) * 2
    high = max(estimate.high, min(value + _reach(more, n), most))
    low = min(estimate.low, max(value - _reach(fewer, n), least))
    return replace(estimate, low=low, high=high)


def _reach(events: float, n: int) -> float:
    """How far above its estimate a share of few events can be; 0 for many events."""
    return largest_share(events, n) - events / n if events <= FEW_EVENTS else 0.0


def largest_share(events: float, n: int) -> float:
    """The largest plausible share of an event that was observed never or a few times in ``n`` observations.

    The upper end of Jeffreys' 95 % interval (Brown, Cai and DasGupta 2001, "Interval estimation for a binomial
    proportion").
    """
    return beta_quantile(0.975, events + 0.5, n - events + 0.5)


def _of_differences(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])
