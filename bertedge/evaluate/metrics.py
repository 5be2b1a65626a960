"""The table of fidelity metrics. A new metric is one row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import Count

Floats = NDArray[np.float64]
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


def weighted_mean(values: Floats, weights: Floats) -> float:
    """``np.average`` without its checks; an interval takes a thousand of them."""
    return float((values * weights).sum() / weights.sum())


def _mean(quantity: str) -> Estimate:
    return Estimate((quantity,), lambda values: partial(weighted_mean, values[quantity]))


def _difference(one: str, other: str) -> Estimate:
    return Estimate((one, other), lambda values: partial(weighted_mean, values[one] - values[other]))


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
