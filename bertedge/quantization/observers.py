"""Ranges, means and histograms of activations in bounded memory, and the choice of a range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CheckpointError
from bertedge.recipe import Static

LEVELS = 255
#: The smallest normal float32.
TINY = float(np.finfo(np.float32).tiny)
#: The largest activation whose squares can be summed over all texts in float32; those of a trained BERT are below 1e4.
LARGEST = 1e15
#: Bins of a histogram; a step of uint8 is eight of them.
BINS = 2040
#: Ends of the range that are tried for the least squared error, as shares of the observed ends.
TRIED = np.linspace(0.3, 1.0, 36)


def require_ordinary(values: NDArray[np.float32], layer: str, model: str) -> None:
    """Refuse activations that are not finite, or so large that sums of their squares are not.

    Args:
        layer, model: for the message.

    Raises:
        CheckpointError: there are such activations.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= LARGEST:
        raise CheckpointError(
            f"{model}: computes numbers that are not finite, or above {LARGEST:g}, which {layer} reads",
            "are its weights of ordinary size? take an earlier checkpoint of that training",
        )


class Channels:
    """Range and mean of each channel.

    Attributes:
        low, high: smallest and largest value of each channel, (channels,); zeros before the first observation.
        mean: mean of each channel, (channels,).
    """

    def __init__(
        self, *, low: NDArray[np.float32], high: NDArray[np.float32], mean: NDArray[np.float32], rows: int
    ) -> None:
        self.low, self.high, self.mean = low, high, mean
        self._rows, self._seen = rows, rows > 0

    @classmethod
    def unseen(cls, channels: int) -> Channels:
        """``count`` channels before the first observation."""
        return cls(**{name: np.zeros(channels, dtype=np.float32) for name in ("low", "high", "mean")}, rows=0)

    def observe(self, values: NDArray[np.float32], typical: NDArray[np.float32] | None = None) -> None:
        """Add values of shape (..., channels).

        Args:
            typical: the values that the mean is computed of, (..., channels); default: all.
        """
        rows = values.reshape(-1, values.shape[-1])
        if not len(rows):
            return
        self.low = np.minimum(self.low, rows.min(axis=0)) if self._seen else rows.min(axis=0)
        self.high = np.maximum(self.high, rows.max(axis=0)) if self._seen else rows.max(axis=0)
        self._seen = True
        means = rows if typical is None else typical.reshape(-1, typical.shape[-1])
        if len(means):
            self._rows += len(means)
            self.mean += (means.mean(axis=0) - self.mean) * np.float32(len(means) / self._rows)

    def with_margin(self, factor: float) -> Channels:
        """A copy with ranges that are wider by a factor, around the same middle."""
        middle, half = (self.high + self.low) / 2, factor * (self.high - self.low) / 2
        low, high = ((middle + sign * half).astype(np.float32) for sign in (-1, 1))
        return Channels(low=low, high=high, mean=self.mean, rows=self._rows)

    @property
    def largest(self) -> NDArray[np.float32]:
        """Largest absolute value of each channel, (channels,)."""
        return np.maximum(self.high, -self.low)


class Histogram:
    """A histogram of values in a known range, with ``BINS`` equal bins.

    Args:
        low, high: the range; it is extended to include zero.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = min(low, 0.0), max(high, 0.0)
        self.counts = np.zeros(BINS, dtype=np.int64)

    def observe(self, values: NDArray[np.float32]) -> None:
        """Count values; those outside the range are counted in the last bin of their side."""
        width = max(self.high - self.low, TINY) / BINS
        bins = ((values.ravel() - self.low) / width).astype(np.int64)
        self.counts += np.bincount(np.clip(bins, 0, BINS - 1, out=bins), minlength=BINS)

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS

    def share_outside(self, low: float, high: float) -> float:
        """Share of the values outside a range, 0 to 1."""
        outside = (self.centers < low) | (self.centers > high)
        return float(self.counts[outside].sum() / max(1, self.counts.sum()))


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The range that was chosen for a tensor of activations, and the share of the values outside of it."""

    low: float
    high: float
    outside: float


def least_squares(seen: Histogram, method: Static) -> tuple[float, float]:
    """The range with the smallest squared error of clipping outside and rounding inside (step^2 / 12 for each value).

    Banner et al. 2019, "Post training 4-bit quantization", section 3, with counts instead of densities.
    """
    values, counts = seen.centers, seen.counts.astype(np.float64)
    lows, highs = TRIED * seen.low, TRIED * seen.high
    below = np.array([(counts * np.minimum(values - low, 0.0) ** 2).sum() for low in lows])
    above = np.array([(counts * np.maximum(values - high, 0.0) ** 2).sum() for high in highs])
    steps = (highs[None] - lows[:, None]) / LEVELS
    errors = below[:, None] + above[None] + counts.sum() * steps**2 / 12
    first, second = np.unravel_index(int(np.argmin(errors)), errors.shape)
    return float(lows[first]), float(highs[second])


def percentile(seen: Histogram, method: Static) -> tuple[float, float]:
    """The range that holds ``method.percentile`` of the values; the others are divided equally to both sides."""
    rising = np.cumsum(seen.counts) / max(1, seen.counts.sum())
    beyond = (1 - method.percentile / 100) / 2
    edges = seen.low + np.arange(BINS + 1) * (seen.high - seen.low) / BINS
    first = int(np.searchsorted(rising, beyond, side="right"))
    last = int(np.searchsorted(rising, 1 - beyond, side="left"))
    return min(float(edges[min(first, BINS)]), 0.0), max(float(edges[min(last + 1, BINS)]), 0.0)


#: Observers that clip, by name; ``min-max`` keeps the whole range.
CLIPPING: dict[str, Callable[[Histogram, Static], tuple[float, float]]] = {
    "mse": least_squares,
    "percentile": percentile,
}


def clip_of(seen: Histogram, method: Static) -> Clip:
    """The range that the method's observer chooses."""
    low, high = CLIPPING[method.observer](seen, method)
    return Clip(low=low, high=high, outside=seen.share_outside(low, high))


def scale_and_zero_point(low: float, high: float) -> tuple[float, int]:
    """Width of a step and zero point for uint8 over a range (Jacob et al. 2018, equation 1)."""
    scale = (max(high, 0.0) - min(low, 0.0)) / LEVELS
    if scale < TINY:  # all values are zero, or almost zero
        return 1.0, 0
    return scale, int(np.clip(round(-min(low, 0.0) / scale), 0, LEVELS))
