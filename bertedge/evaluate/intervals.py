"""Intervals of few clusters, and of the difference or ratio of two independent estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, mean, stdev
from typing import Any, Literal

from bertedge.errors import MissingExtraError
from bertedge.metric import MetricValue

NORMAL = NormalDist()
#: The result of comparing an interval with a limit.
Outcome = Literal["pass", "fail", "inconclusive"]
LARGEST_EXPONENT = 700.0


def outcome_of(value: MetricValue, limit: float) -> Outcome:
    """Compare an interval with a limit: a budget of the gate, or a goal of ``quantize`` or ``tune``.

    ``pass`` if the whole interval is within the limit, ``fail`` if the whole interval is beyond it, otherwise
    ``inconclusive``; also ``inconclusive`` for NaN.

    Args:
        limit: the largest value that is allowed. For a smallest value, negate both.
    """
    tolerance = 1e-9 * abs(limit)  # a budget of 0.01 allows a fall from 0.99 to 0.98 in spite of binary rounding
    if value.low > limit + tolerance:
        return "fail"
    return "pass" if value.high <= limit + tolerance else "inconclusive"


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """An interval for the mean of two values or more.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    half = student_t(0.5 + level / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def expanded_tail(clusters: int, level: float = 0.95) -> float:
    """The share to leave out at each end of a bootstrap over few clusters; see Hesterberg (2015), section 5.3.

    A bootstrap of n values divides by n instead of n - 1, and its tails are narrower than those of Student's t. More
    extreme percentiles correct both errors.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    return NORMAL.cdf(-math.sqrt(clusters / (clusters - 1)) * student_t(0.5 + level / 2, clusters - 1))


def student_t(share: float, freedom: int) -> float:
    """Quantile of Student's t distribution."""
    return float(_special().stdtrit(freedom, share))


def beta_quantile(share: float, a: float, b: float) -> float:
    """Quantile of the Beta distribution.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    return float(_special().betaincinv(a, b, share))


def _special() -> Any:
    """Import ``scipy.special``. Only measuring needs it; reading a report does not."""
    try:
        from scipy import special
    except ModuleNotFoundError as error:
        raise MissingExtraError("scipy", "tools") from error
    return special


def exactly(value: float) -> MetricValue:
    """A number without an interval."""
    return MetricValue(value=value, low=value, high=value, n=1)


def difference(new: MetricValue, old: MetricValue) -> MetricValue:
    """``new - old`` of two independent estimates, with a 95 % interval (MOVER, Zou and Donner 2008).

    If both come from the same texts, the interval is wider than necessary.
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

    0 / 0 is 1. A positive number / 0 is infinite. The upper end is infinite if the interval of ``old`` contains 0.
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
