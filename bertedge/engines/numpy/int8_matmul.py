"""The int8 matmul that every CPU should compute, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Products of so many inputs, 255 * 127 each, have exact sums in float32.
EXACT_INPUTS = 512


class ExactMatrix:
    """An int8 matrix (K, N) that uint8 inputs are multiplied with, by the float32 matmul of numpy."""

    def __init__(self, weight: NDArray[np.int8]) -> None:
        self._weight = weight.astype(np.float32)
        self._column_sums = weight.sum(axis=0, dtype=np.int32)

    def multiply(self, x: NDArray[np.uint8], zero_point: int) -> NDArray[np.int32]:
        """(M, K) -> (M, N): the sums minus what the zero point adds to each."""
        sums = np.zeros((len(x), self._weight.shape[1]), dtype=np.int32)
        for start in range(0, x.shape[1], EXACT_INPUTS):
            part = slice(start, start + EXACT_INPUTS)
            sums += (x[:, part].astype(np.float32) @ self._weight[part]).astype(np.int32)
        return sums - zero_point * self._column_sums
