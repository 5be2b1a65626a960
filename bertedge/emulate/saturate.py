"""An int8 matmul on CPUs that add products in 16 bits.

AVX2 and AVX512 without VNNI multiply with ``vpmaddubsw``: the products of every two neighbouring inputs, uint8 times
int8, are added in a signed 16-bit lane, and a sum that does not fit is cut to the lane's limit.
``vpmaddwd`` then adds two lanes into 32 bits.
onnxruntime packs the inputs in groups of four in their order (mlas, ``QgemmU8X8KernelAvx2``), so the pairs are inputs
2i and 2i + 1; it multiplies the uint8 values as they are, and takes zero points into account afterwards, in 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.engines.numpy.int8_matmul import ExactMatrix

LOW, HIGH = -(2**15), 2**15 - 1
LARGEST_INPUT = 255


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """How many sums were cut.

    Attributes:
        pairs: sums of two products.
        cut_pairs: pairs whose sum did not fit into 16 bits.
        sums: results of the matmul.
        wrong_sums: results with a pair that was cut.
    """

    pairs: int = 0
    cut_pairs: int = 0
    sums: int = 0
    wrong_sums: int = 0

    def __add__(self, other: Saturation) -> Saturation:
        return Saturation(
            pairs=self.pairs + other.pairs,
            cut_pairs=self.cut_pairs + other.cut_pairs,
            sums=self.sums + other.sums,
            wrong_sums=self.wrong_sums + other.wrong_sums,
        )


class PairwiseMatrix:
    """An int8 matrix (K, N) for products with uint8 inputs that are added in pairs, in 16 bits.

    Exact products come first. Then the few pairs of weights that are large enough to overflow with some input are
    corrected one by one.
    """

    def __init__(self, weight: NDArray[np.int8]) -> None:
        self._exact = ExactMatrix(weight)
        padded = np.pad(weight, ((0, len(weight) % 2), (0, 0))).astype(np.int32)
        self._even, self._odd = padded[0::2], padded[1::2]
        #: The largest and the smallest sum that each pair can reach, divided by the largest input, (K / 2, N).
        top = np.maximum(self._even, 0) + np.maximum(self._odd, 0)
        bottom = np.minimum(self._even, 0) + np.minimum(self._odd, 0)
        self._at_risk = (LARGEST_INPUT * top > HIGH) | (LARGEST_INPUT * bottom < LOW)

    def multiply(self, x: NDArray[np.uint8], zero_point: int) -> tuple[NDArray[np.int32], Saturation]:
        """(M, K) -> (M, N): the sums minus what the zero point adds to each, and how many were cut."""
        sums = self._exact.multiply(x, zero_point)
        padded = np.pad(x, ((0, 0), (0, x.shape[1] % 2))).astype(np.int32)
        even, odd = padded[:, 0::2], padded[:, 1::2]
        wrong = np.zeros(sums.shape, dtype=bool)
        cut_pairs = 0
        for pair in np.flatnonzero(self._at_risk.any(axis=1)):
            columns = np.flatnonzero(self._at_risk[pair])
            products = even[:, pair, None] * self._even[pair, columns] + odd[:, pair, None] * self._odd[pair, columns]
            lost = np.clip(products, LOW, HIGH) - products
            sums[:, columns] += lost
            wrong[:, columns] |= lost != 0
            cut_pairs += int(np.count_nonzero(lost))
        seen = Saturation(
            pairs=even.shape[1] * sums.size, cut_pairs=cut_pairs, sums=sums.size, wrong_sums=int(wrong.sum())
        )
        return sums, seen
