"""Ranges of activations, gathered batch by batch in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 255


@dataclass
class MinMax:
    """The whole range that was seen. Outliers in BERT's activations carry function, so none are cut off."""

    low: float = 0.0
    high: float = 0.0

    def observe(self, values: NDArray[np.float32]) -> None:
        """Widen the range; zero always belongs to it, since it must be representable exactly."""
        self.low = min(self.low, float(values.min(initial=0.0)))
        self.high = max(self.high, float(values.max(initial=0.0)))

    def scale_and_zero_point(self) -> tuple[float, int]:
        """Width of a step, and the step of zero, for uint8 (Jacob et al. 2018, equation 1)."""
        scale = (self.high - self.low) / LEVELS
        if scale == 0.0:  # a layer that only ever saw zeros
            return 1.0, 0
        return scale, int(np.clip(round(-self.low / scale), 0, LEVELS))
