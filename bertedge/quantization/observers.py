"""Ranges of activations, gathered batch by batch in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 255


class MinMax:
    """The whole range of every channel that was seen. Outliers in BERT's activations carry function: none are cut off.

    Args:
        channels: extent of the last axis of what is observed.

    Attributes:
        low, high: smallest and largest value of each channel, (channels,); zero always belongs to the range, since it
            must be representable exactly.
    """

    def __init__(self, channels: int) -> None:
        self.low = np.zeros(channels, dtype=np.float32)
        self.high = np.zeros(channels, dtype=np.float32)

    def observe(self, values: NDArray[np.float32]) -> None:
        """Widen the ranges by values of shape (..., channels)."""
        rows = values.reshape(-1, values.shape[-1])
        if len(rows):
            np.minimum(self.low, rows.min(axis=0), out=self.low)
            np.maximum(self.high, rows.max(axis=0), out=self.high)

    @property
    def largest(self) -> NDArray[np.float32]:
        """Largest absolute value of each channel, (channels,)."""
        return np.maximum(self.high, -self.low)


def scale_and_zero_point(low: float, high: float) -> tuple[float, int]:
    """Width of a step, and the step of zero, for uint8 over a range (Jacob et al. 2018, equation 1)."""
    scale = (max(high, 0.0) - min(low, 0.0)) / LEVELS
    if scale < np.finfo(np.float32).tiny:  # a layer that only ever saw zeros, or next to nothing
        return 1.0, 0
    return scale, int(np.clip(round(-min(low, 0.0) / scale), 0, LEVELS))
