"""The table of fidelity metrics, each with a 95 % bootstrap interval.

Positions of one text are not independent of each other, so whole texts are resampled (Efron and Tibshirani 1993, ch.
8). What nobody saw happen is in no sample of what was seen, so intervals of shares of which few events were seen, or
none, reach as far as :func:`largest_share`, which takes events for independent. A new metric is one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import Count

Floats = NDArray[np.float64]
RESAMPLES = 1000
#: Events that are too few for the bootstrap to know how many more there may be.
FEW_EVENTS = 5
SEED = 0
#: nats, and a probability; float32 itself differs by so much from one order of summation to another.
KL_FLOOR, PROBABILITY_FLOOR = 1e-5, 1e-5


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """A value with its 95 % interval, from ``n`` observations."""

    value: float
    low: float
    high: float
    n: Count

    def flaw(self) -> str | None:
        """What is wrong with it in a file, in words. (What is infinite is written as null, which is NaN here.)"""
        if self.low > self.value or self.value > self.high:
            return f"{self.value:.4g} is outside of its interval, {self.low:.4g} to {self.high:.4g}"
        return None

    def __neg__(self) -> MetricValue:
        return MetricValue(value=-self.value, low=-self.high, high=-self.low, n=self.n)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One model's metric minus, and over, that of another which answered to the very same texts.

    Attributes:
        ratio: None where the other's may be nothing.
    """

    difference: MetricValue
    ratio: MetricValue | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """What was seen of a candidate beside its reference.

    Attributes:
        mlm: quantity -> one number a masked position: ``top1_equal``, ``top5_overlap``, ``kl``, ``reference_hit``,
            ``hit``, ``reference_nll``, ``nll``; or nothing at all.
        mlm_text: the text that each position stands in.
        nsp: quantity -> one number a pair: ``flip``, ``prob_diff``, ``reference_hit``, ``hit``; or nothing at all.
        nsp_text: the text of each pair.
        texts: how many texts there were.
    """

    mlm: dict[str, Floats]
    mlm_text: NDArray[np.int64]
    nsp: dict[str, Floats]
    nsp_text: NDArray[np.int64]
    texts: int


Estimate = Callable[[dict[str, Floats], Floats], float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number made of observations.

    Attributes:
        head: ``mlm`` or ``nsp``.
        estimate: (quantities, weight of each observation) -> value.
        better: ``higher`` or ``lower``.
        floor: smaller numbers are as good as this one; below it there is only rounding.
        bounds: of an observation, where the metric is a mean of events, or of the difference of two: an event more or
            less moves it by one over their number.
    """

    head: str
    estimate: Estimate
    better: str
    meaning: str
    floor: float = -math.inf
    bounds: tuple[float, float] | None = None


def _mean(quantity: str) -> Estimate:
    return lambda values, weights: float(np.average(values[quantity], weights=weights))


def _difference(one: str, other: str) -> Estimate:
    return lambda values, weights: float(np.average(values[one] - values[other], weights=weights))


def _quantile(quantity: str, share: float) -> Estimate:
    def estimate(values: dict[str, Floats], weights: Floats) -> float:
        if np.isnan(values[quantity]).any():
            return math.nan  # which sorting would put out of sight
        order = np.argsort(values[quantity])
        cumulative = np.cumsum(weights[order])
        return float(values[quantity][order[np.searchsorted(cumulative, share * cumulative[-1])]])

    return estimate


def _perplexity_ratio(values: dict[str, Floats], weights: Floats) -> float:
    return float(np.exp(np.average(values["nll"] - values["reference_nll"], weights=weights)))


METRICS = {
    "mlm.top1_agreement": Metric(
        head="mlm",
        estimate=_mean("top1_equal"),
        better="higher",
        meaning="share of masked positions with float's best word",
        bounds=(0, 1),
    ),
    "mlm.top5_agreement": Metric(
        head="mlm",
        estimate=_mean("top5_overlap"),
        better="higher",
        meaning="share of float's five best words among the five best",
        bounds=(0, 1),
    ),
    "mlm.kl_mean": Metric(
        head="mlm",
        estimate=_mean("kl"),
        better="lower",
        meaning="KL(float || candidate) in nats, mean",
        floor=KL_FLOOR,
    ),
    "mlm.kl_p99": Metric(
        head="mlm",
        estimate=_quantile("kl", 0.99),
        better="lower",
        meaning="KL(float || candidate), 99th percentile",
        floor=KL_FLOOR,
    ),
    "mlm.top1_accuracy": Metric(
        head="mlm",
        estimate=_mean("hit"),
        better="higher",
        meaning="share of the masked words that are found",
        bounds=(0, 1),
    ),
    "mlm.top1_accuracy_drop": Metric(
        head="mlm",
        estimate=_difference("reference_hit", "hit"),
        better="lower",
        meaning="top1_accuracy of float minus the candidate's",
        bounds=(-1, 1),
    ),
    "mlm.pseudo_perplexity_ratio": Metric(
        head="mlm",
        estimate=_perplexity_ratio,
        better="lower",
        meaning="pseudo-perplexity of the candidate over float's",
    ),
    "nsp.flip_rate": Metric(
        head="nsp",
        estimate=_mean("flip"),
        better="lower",
        meaning="share of the pairs judged differently from float",
        bounds=(0, 1),
    ),
    "nsp.prob_mae": Metric(
        head="nsp",
        estimate=_mean("prob_diff"),
        better="lower",
        meaning="mean difference of P(is next) from float",
        floor=PROBABILITY_FLOOR,
    ),
    "nsp.accuracy": Metric(
        head="nsp", estimate=_mean("hit"), better="higher", meaning="share of the pairs judged rightly", bounds=(0, 1)
    ),
    "nsp.accuracy_drop": Metric(
        head="nsp",
        estimate=_difference("reference_hit", "hit"),
        better="lower",
        meaning="nsp.accuracy of float minus the candidate's",
        bounds=(-1, 1),
    ),
}
#: Largest differences, not means: no interval, and no head of their own.
INVARIANCE = "invariance.max_prob_diff"
PADDED_FILE = "invariance.padded_file_max_prob_diff"
#: Every metric's name -> which way is better, and its meaning, in the order of the report.
DESCRIPTIONS = {name: (metric.better, metric.meaning) for name, metric in METRICS.items()} | {
    INVARIANCE: ("lower", "the same text alone and in a batch with others"),
    PADDED_FILE: ("lower", "the same for model.onnx in plain onnxruntime, padded"),
}


def estimate_all(
    seen: Observations, *, names: Collection[str] = tuple(METRICS), resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, MetricValue]:
    """Every metric of the names whose head there are observations of, with its bootstrap interval."""
    counts = _resampled(seen.texts, resamples, seed)
    values = {}
    for name in names:
        metric = METRICS[name]
        if n := len(_side(metric, seen)[1]):
            values[name] = _with_the_unseen(_interval(_draws(metric, seen, counts), n), metric.bounds)
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
        n = len(_side(metric, new)[1])
        if n and n == len(_side(metric, old)[1]):
            mine, its = (np.maximum(_draws(metric, seen, counts), metric.floor) for seen in (new, old))
            ratio = _interval(mine / its, n) if (its > 0).all() else None
            difference = _with_the_unseen(_interval(mine - its, n), _of_differences(metric.bounds))
            changes[name] = Change(difference=difference, ratio=ratio)
    return changes


def estimate(name: str, seen: Observations) -> float | None:
    """One metric without its interval; None where there are no observations of its head."""
    metric = METRICS[name]
    values, text = _side(metric, seen)
    return metric.estimate(values, np.ones(len(text))) if len(text) else None


def _side(metric: Metric, seen: Observations) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """The quantities that a metric is made of, and the text of each observation."""
    return (seen.mlm, seen.mlm_text) if metric.head == "mlm" else (seen.nsp, seen.nsp_text)


def _resampled(texts: int, resamples: int, seed: int) -> Floats:
    """(draws, texts): how often each text is in each draw."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(texts, np.full(texts, 1 / texts), size=resamples).astype(np.float64)


def _draws(metric: Metric, seen: Observations, counts: Floats) -> Floats:
    """The metric's value as observed, and then that of each draw that has an observation."""
    values, text = _side(metric, seen)
    drawn = [weights for weights in counts[:, text] if weights.any()]
    return np.array([metric.estimate(values, weights) for weights in (np.ones(len(text)), *drawn)])


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
