"""Intervals: of few clusters, and of the difference or ratio of two estimates that were made apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, mean, stdev
from typing import Literal

from bertedge.metric import MetricValue

NORMAL = NormalDist()
#: What an interval says of a limit.
Outcome = Literal["pass", "fail", "inconclusive"]
LARGEST_EXPONENT = 700.0


def outcome_of(value: MetricValue, limit: float) -> Outcome:
    """The rule for everything that has a limit: budgets of a gate, goals of ``quantize`` and ``tune``.

    Within the limit with the whole interval is ``pass``, beyond it with the whole interval is ``fail``, and anything
    else is ``inconclusive``, NaN included.

    Args:
        limit: the largest value that is allowed. For a smallest one, negate both.
    """
    tolerance = 1e-9 * abs(limit)  # a budget of 0.01 allows a fall from 0.99 to 0.98, whatever binary fractions say
    if value.low > limit + tolerance:
        return "fail"
    return "pass" if value.high <= limit + tolerance else "inconclusive"


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """An interval for the mean of two values or more."""
    half = student_t(0.5 + level / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def expanded_tail(clusters: int, level: float = 0.95) -> float:
    """The share to leave out at each end of a bootstrap over few clusters; see Hesterberg (2015), section 5.3.

    A bootstrap of n values has the spread of n, not of n - 1, and knows nothing of Student's wider tails; taking its
    percentiles further outwards repairs both.
    """
    return NORMAL.cdf(-math.sqrt(clusters / (clusters - 1)) * student_t(0.5 + level / 2, clusters - 1))


def student_t(share: float, freedom: int) -> float:
    """Quantile of Student's t: exact for 1 degree of freedom, good to 3 % for 2 and to 1 % for more.

    Abramowitz and Stegun 26.7.5.
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    z, n = NORMAL.inv_cdf(share), freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def exactly(value: float) -> MetricValue:
    """A number without any doubt about it."""
    return MetricValue(value=value, low=value, high=value, n=1)


def difference(new: MetricValue, old: MetricValue) -> MetricValue:
    """``new - old`` of two independent estimates, with a 95 % interval made of theirs (MOVER, Zou and Donner 2008).

    Where both saw the same texts the true interval is narrower: the two err in the same direction.
    """
    value = new.value - old.value
    return MetricValue(
        value=value,
        low=value - math.hypot(new.value - new.low, old.high - old.value),
        high=value + math.hypot(new.high - new.value, old.value - old.low),
        n=min(new.n, old.n),
    )


def quotient(new: MetricValue, old: MetricValue) -> MetricValue:
    """``new / old`` of two independent estimates: :func:`difference` of their logarithms.

    Nothing to nothing is 1; something to nothing is infinite, and so is the upper end where ``old`` may be nothing.
    """
    if old.value <= 0:
        if new.high <= 0 and old.high <= 0:
            return exactly(1.0)
        low = max(new.low, 0.0) / old.high if old.high > 0 else (math.inf if new.low > 0 else 1.0)
        return MetricValue(value=1.0 if new.value <= 0 else math.inf, low=low, high=math.inf, n=min(new.n, old.n))
    if new.value <= 0:
        return MetricValue(
            value=0.0, low=0.0, high=new.high / old.low if old.low > 0 else math.inf, n=min(new.n, old.n)
        )
    logs = difference(_log(new), _log(old))
    high = math.exp(logs.high) if logs.high < LARGEST_EXPONENT else math.inf
    return MetricValue(value=new.value / old.value, low=math.exp(logs.low), high=high, n=logs.n)


def _log(estimate: MetricValue) -> MetricValue:
    value, low, high = (math.log(x) if x > 0 else -math.inf for x in (estimate.value, estimate.low, estimate.high))
    return MetricValue(value=value, low=low, high=high, n=estimate.n)
