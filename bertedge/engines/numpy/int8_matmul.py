"""The exact int8 matmul, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: float32 holds exact sums of this many products, of 255 * 127 each.
EXACT_INPUTS = 512


class ExactMatrix:
    """An int8 matrix (K, N) for uint8 inputs, multiplied by numpy's float32 matmul."""

    def __init__(self, weight: NDArray[np.int8]) -> None:
        self._weight = weight.astype(np.float32)
        self._column_sums = weight.sum(axis=0, dtype=np.int32)

    def multiply(self, x: NDArray[np.uint8], zero_point: int) -> NDArray[np.int32]:
        """(M, K) -> (M, N): the sums, without the part that the zero point adds."""
        return exact_sums(x, self._weight) - zero_point * self._column_sums


def exact_sums(x: NDArray[Any], weight: NDArray[np.float32]) -> NDArray[np.int32]:
    """(M, K) times (K, N): whole numbers from -255 to 255 times whole numbers from -127 to 127."""
    sums = np.zeros((len(x), weight.shape[1]), dtype=np.int32)
    for start in range(0, x.shape[1], EXACT_INPUTS):
        part = slice(start, start + EXACT_INPUTS)
        sums += (x[:, part].astype(np.float32, copy=False) @ weight[part]).astype(np.int32)
    return sums
