"""The int8 weights that a CPU multiplies without overflow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: -128 is left out: it has no positive counterpart, and ARM's kernel without dotprod overflows on it.
LARGEST = 127


@dataclass(frozen=True, kw_only=True)
class WeightRange:
    """Limits of the weights of one output.

    A kernel that adds the products of two neighbouring inputs in 16 bits limits the sum of their two weights, not each
    weight alone. With uint8 inputs the sum is largest where both inputs are 255: two weights of one sign are limited to
    32767 / 255 = 128 together, and two of opposite signs never give more than the larger one alone.

    Attributes:
        largest: the largest absolute value of any weight.
        pair: the largest absolute value of the sum of the weights of inputs 2i and 2i + 1.
    """

    largest: int = LARGEST
    pair: int = 2 * LARGEST

    @property
    def limits_pairs(self) -> bool:
        """Whether the sum of two allowed weights can be too large."""
        return self.pair < 2 * self.largest

    def within(self, other: WeightRange) -> bool:
        """Whether all weights within these limits are within the other limits."""
        return self.largest <= other.largest and min(self.pair, 2 * self.largest) <= other.pair

    def partner_limits(self, weight: NDArray[np.int8]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The lowest and the highest second weight of a pair whose first weight is rounded already, of any shape."""
        room = np.minimum(self.pair - np.abs(weight.astype(np.int16)), self.largest)
        return -np.where(weight < 0, room, self.largest), np.where(weight > 0, room, self.largest)

    def __str__(self) -> str:
        return f"+-{self.largest}" + (f", pairs +-{self.pair}" if self.limits_pairs else "")


FULL_RANGE = WeightRange()
#: For kernels that add two products of uint8 and int8 in 16 bits.
PAIRED_RANGE = WeightRange(pair=128)
