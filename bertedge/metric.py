"""Fidelity metrics: values computed from observations, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import Count

Floats = NDArray[np.float64]
#: Prefix of the goals that are upper bounds.
CEILING = "max"
#: Differences that are only rounding: of the KL divergence of a few classes, in nats, and of a probability.
KL_FLOOR, PROBABILITY_FLOOR = 1e-7, 1e-5
#: Allowed bounds of goals.
SHARE, ANY = (0.0, 1.0), (0.0, math.inf)


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """A value with its 95 % interval, from ``n`` observations."""

    value: float
    low: float
    high: float
    n: Count

    def flaw(self) -> str | None:
        """A message if the value contradicts its interval; otherwise None. (A file stores infinity as null: NaN.)"""
        if self.low > self.value or self.value > self.high:
            return f"{self.value:.4g} is outside of its interval, {self.low:.4g} to {self.high:.4g}"
        return None

    def __neg__(self) -> MetricValue:
        return MetricValue(value=-self.value, low=-self.high, high=-self.low, n=self.n)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A metric of one model compared with another model on the same texts: the difference and the ratio.

    Attributes:
        ratio: None if the other model's value may be 0.
    """

    difference: MetricValue
    ratio: MetricValue | None


#: Takes the weight of each observation, (N,), and returns the value.
Weighted = Callable[[Floats], float]


@dataclass(frozen=True)
class Estimate:
    """How a value is computed from quantities.

    Attributes:
        quantities: the names of the quantities that it needs.
        prepare: takes the quantities and returns a function of the weights; called once for many weights.
        size: takes the quantities and returns what the value is a share of, such as a number of spans; None: the number
            of observations.
    """

    quantities: tuple[str, ...]
    prepare: Callable[[dict[str, Floats]], Weighted]
    size: Callable[[dict[str, Floats]], int] | None = None

    def n(self, values: dict[str, Floats]) -> int:
        """How many things the value is made of."""
        return len(values[self.quantities[0]]) if self.size is None else self.size(values)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number made of observations.

    Attributes:
        group: the observations that it is made of; see :class:`bertedge.heads.Head`.
        estimate: how the value is computed.
        better: whether higher or lower values are better.
        meaning: one line for the report.
        floor: smaller values come from rounding only, and count as equal to this value.
        bounds: smallest and largest value of one observation, if the metric is a share of events or a difference of two
            such shares; one event changes it by about 1 / N. None otherwise.
    """

    group: str
    estimate: Estimate
    better: Literal["higher", "lower"]
    meaning: str
    floor: float = -math.inf
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class GoalKind:
    """A number that a user can limit.

    Attributes:
        option: its name on the command line. ``max`` or ``min`` at its beginning says how the bound is meant.
        metric: the name of what is measured.
        head: the head whose loss it is; None if it is not a loss.
        limits: the allowed bounds.
        scale: a relevant difference, to compare misses of different goals; None to use the bound itself.
        help: for the command line.
    """

    option: str
    metric: str
    head: str | None
    limits: tuple[float, float]
    scale: float | None
    help: str

    @property
    def is_ceiling(self) -> bool:
        """Whether the value has to be at or below the bound."""
        return self.option.startswith(CEILING)


def weighted_mean(values: Floats, weights: Floats) -> float:
    """``np.average`` without its checks; an interval takes a thousand of them."""
    return float((values * weights).sum() / weights.sum())


def mean(quantity: str) -> Estimate:
    """The mean of a quantity."""
    return Estimate((quantity,), lambda values: partial(weighted_mean, values[quantity]))


def difference(one: str, other: str) -> Estimate:
    """The mean of one quantity minus another."""
    return Estimate((one, other), lambda values: partial(weighted_mean, values[one] - values[other]))


def mean_of_groups(quantity: str, share: str) -> Estimate:
    """The mean of a quantity over groups of observations.

    Args:
        share: the quantity with each observation's part of its group; the parts of a group add up to 1, and an
            observation without a group has 0.
    """

    def prepare(values: dict[str, Floats]) -> Weighted:
        parts = values[share]
        return lambda weights: weighted_mean(values[quantity], parts * weights) if (parts * weights).any() else 1.0

    return Estimate((quantity, share), prepare, lambda values: round(float(values[share].sum())))


def spearman(one: str, other: str, share: str) -> Estimate:
    """Spearman's rank correlation of two quantities, over the observations whose ``share`` is above 0.

    Equal values have the mean of their ranks. 0 where all values of a quantity are equal.
    """

    def prepare(values: dict[str, Floats]) -> Weighted:
        chosen = values[share] > 0
        places = [np.unique(values[name][chosen], return_inverse=True)[1] for name in (one, other)]

        def estimate(weights: Floats) -> float:
            own = weights[chosen]
            first, second = (_ranks(place, own) for place in places)
            return _correlation(first, second, own)

        return estimate

    return Estimate((one, other, share), prepare, lambda values: int((values[share] > 0).sum()))


def _ranks(places: NDArray[np.intp], weights: Floats) -> Floats:
    """The mean rank of each observation, where an observation with weight 2 counts as two equal ones."""
    counts = np.bincount(places, weights)
    return (np.cumsum(counts) - counts / 2)[places]


def _correlation(one: Floats, other: Floats, weights: Floats) -> float:
    """Pearson's correlation."""
    if not weights.any():
        return 0.0
    first, second = (values - weighted_mean(values, weights) for values in (one, other))
    scale = math.sqrt(float((weights * first**2).sum()) * float((weights * second**2).sum()))
    return float((weights * first * second).sum()) / scale if scale else 0.0


def f1(shared: str, found: str, expected: str) -> Estimate:
    """The F1 of things found in texts: twice the ``shared`` ones over the ``found`` and the ``expected`` ones.

    The quantities are numbers of things in a text, such as spans. It is 1 where there is nothing to find.
    """

    def prepare(values: dict[str, Floats]) -> Weighted:
        twice, both = 2 * values[shared], values[found] + values[expected]

        def estimate(weights: Floats) -> float:
            whole = (both * weights).sum()
            return float((twice * weights).sum() / whole) if whole else 1.0

        return estimate

    def size(values: dict[str, Floats]) -> int:
        return round(float(values[found].sum() + values[expected].sum()) / 2)

    return Estimate((shared, found, expected), prepare, size)


def minus(one: Estimate, other: Estimate) -> Estimate:
    """One estimate minus another on the same texts."""

    def prepare(values: dict[str, Floats]) -> Weighted:
        first, second = one.prepare(values), other.prepare(values)
        return lambda weights: first(weights) - second(weights)

    return Estimate((*one.quantities, *other.quantities), prepare, one.n)


def exponential(estimate: Estimate) -> Estimate:
    """e to the power of another estimate."""

    def prepare(values: dict[str, Floats]) -> Weighted:
        inner = estimate.prepare(values)
        return lambda weights: float(np.exp(inner(weights)))

    return Estimate(estimate.quantities, prepare, estimate.size)


def quantile(quantity: str, share: float) -> Estimate:
    """The smallest value that at least ``share`` of the weight does not exceed; NaN if any value is."""

    def prepare(values: dict[str, Floats]) -> Weighted:
        if np.isnan(values[quantity]).any():
            return lambda weights: math.nan
        order = np.argsort(values[quantity])
        ordered = values[quantity][order]

        def estimate(weights: Floats) -> float:
            cumulative = np.cumsum(weights[order])
            return float(ordered[np.searchsorted(cumulative, share * cumulative[-1])])

        return estimate

    return Estimate((quantity,), prepare)
