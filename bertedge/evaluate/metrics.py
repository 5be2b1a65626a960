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
#: Of a vector's length; as above.
RELATIVE_FLOOR = 1e-5


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
class Seen:
    """What was seen of one head of a candidate, next to its reference.

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
        heads: head, as metrics name it -> what was seen of it; only heads that both models have, and that the texts
            have something for.
        texts: how many texts there were.
    """

    heads: dict[str, Seen]
    texts: int


#: Weight of each observation, (N,) -> value.
Weighted = Callable[[Floats], float]


@dataclass(frozen=True)
class Estimate:
    """How a value is made of quantities.

    Attributes:
        quantities: the names of those that it takes.
        prepare: (the quantities) -> what computes the value for given weights; called once for many weights.
    """

    quantities: tuple[str, ...]
    prepare: Callable[[dict[str, Floats]], Weighted]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number made of observations.

    Attributes:
        head: what is compared: ``mlm``, ``nsp``, ``embedding`` (the vectors of single texts), ``hidden`` (the states of
            all tokens) or ``pooler`` (its output).
        estimate: makes the value of what was observed.
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
    return Estimate((quantity,), lambda values: lambda weights: float(np.average(values[quantity], weights=weights)))


def _difference(one: str, other: str) -> Estimate:
    def prepare(values: dict[str, Floats]) -> Weighted:
        differences = values[one] - values[other]
        return lambda weights: float(np.average(differences, weights=weights))

    return Estimate((one, other), prepare)


def _quantile(quantity: str, share: float) -> Estimate:
    def prepare(values: dict[str, Floats]) -> Weighted:
        if np.isnan(values[quantity]).any():
            return lambda weights: math.nan  # which sorting would put out of sight
        order = np.argsort(values[quantity])
        ordered = values[quantity][order]

        def estimate(weights: Floats) -> float:
            cumulative = np.cumsum(weights[order])
            return float(ordered[np.searchsorted(cumulative, share * cumulative[-1])])

        return estimate

    return Estimate((quantity,), prepare)


def _perplexity_ratio() -> Estimate:
    mean = _difference("nll", "reference_nll")

    def prepare(values: dict[str, Floats]) -> Weighted:
        estimate = mean.prepare(values)
        return lambda weights: float(np.exp(estimate(weights)))

    return Estimate(mean.quantities, prepare)


def _vector_metrics(head: str, what: str) -> dict[str, Metric]:
    """How far vectors are from float's: the direction, and the length of what was added."""
    return {
        f"{head}.cosine_mean": Metric(
            head=head, estimate=_mean("cosine"), better="higher", meaning=f"cosine of {what} with float's, mean"
        ),
        f"{head}.cosine_p01": Metric(
            head=head,
            estimate=_quantile("cosine", 0.01),
            better="higher",
            meaning=f"cosine of {what} with float's, first percentile",
        ),
        f"{head}.relative_error": Metric(
            head=head,
            estimate=_mean("relative_error"),
            better="lower",
            meaning=f"|difference| over |float's| of {what}, mean",
            floor=RELATIVE_FLOOR,
        ),
    }


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
        estimate=_perplexity_ratio(),
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
    **_vector_metrics("embedding", "text vectors"),
    "embedding.neighbours_at_10": Metric(
        head="embedding",
        estimate=_mean("neighbours"),
        better="higher",
        meaning="share of float's ten nearest texts among the ten nearest",
        bounds=(0, 1),
    ),
    **_vector_metrics("hidden", "hidden states"),
    **_vector_metrics("pooler", "pooler outputs"),
}
#: Prefixes of largest differences, which have no interval: in our runtime, and of the file in plain onnxruntime.
INVARIANCE, PADDED_FILE = "invariance.", "invariance.padded_file_"
ALONE, PADDED = "the same text alone and in a batch with others", "the same for model.onnx in plain onnxruntime, padded"
#: Every metric's name -> which way is better, and its meaning, in the order of the report.
DESCRIPTIONS = {name: (metric.better, metric.meaning) for name, metric in METRICS.items()} | {
    f"{INVARIANCE}max_prob_diff": ("lower", ALONE),
    f"{PADDED_FILE}max_prob_diff": ("lower", PADDED),
    f"{INVARIANCE}max_vector_diff": ("lower", f"relative difference of the mean vector, {ALONE}"),
    f"{PADDED_FILE}max_vector_diff": ("lower", PADDED),
}


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
    own = seen.heads.get(metric.head)
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
