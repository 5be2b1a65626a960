"""How a float matrix is rounded to int8: the protocol, and rounding to the nearest step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.graph.formats import BlockWeights
from bertedge.graph.weight_blocks import QuantizedBlocks, quantize_blocks
from bertedge.weight_range import WeightRange


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """A matrix (rows, columns) as int8 with one scale a row: ``values * scale[:, None]``.

    Attributes:
        lost: the mean error of each row's product with the layer's input, (rows,); None unless it was computed.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    lost: NDArray[np.float32] | None = None

    def floats(self, rows: list[int]) -> NDArray[np.float32]:
        """Some rows as float32."""
        return self.values[rows] * self.scale[rows, None]


class Rounding(Protocol):
    """Rounds the matrix (outputs, inputs) of one linear layer."""

    def __call__(self, matrix: NDArray[np.float32], weight_range: WeightRange) -> QuantizedRows:
        """Symmetric int8 within ``weight_range``, one scale a row."""
        ...

    def in_blocks(self, matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
        """Blocks, each with its own scale."""
        ...

    def scaled(self, factors: NDArray[np.float32]) -> Rounding:
        """The rounding for the same layer where every column of the matrix is multiplied by a factor, (inputs,)."""
        ...

    def shifted(self, shifts: NDArray[np.float32]) -> Rounding:
        """The rounding for the same layer where a shift is subtracted from each input, (inputs,)."""
        ...


#: Layer name -> how its weights are rounded.
Roundings = Callable[[str], Rounding]


#: (matrix, weight_range) -> the scale of each row.
Scales = Callable[[NDArray[np.float32], WeightRange], NDArray[np.float32]]


def row_scales(matrix: NDArray[np.float32], weight_range: WeightRange) -> NDArray[np.float32]:
    """The smallest scale at which each row keeps within ``weight_range``, (rows,)."""
    needed = np.maximum(matrix.max(axis=1), -matrix.min(axis=1)) / weight_range.largest
    if weight_range.limits_pairs:
        first, second = _pairs(matrix)
        sums = first + second
        needed = np.maximum(needed, np.abs(sums, out=sums).max(axis=1, initial=0) / weight_range.pair)
    # rows of zeros, and rows so small that the scale would be 0, get the scale 1
    return np.where(needed > np.finfo(np.float32).tiny, needed, 1.0).astype(np.float32)


def least_squares_scales(matrix: NDArray[np.float32], weight_range: WeightRange) -> NDArray[np.float32]:
    """The scale with the smallest squared error for each row, of several up to :func:`row_scales`, (rows,)."""
    widest = row_scales(matrix, weight_range)
    best, smallest = widest, np.full(len(matrix), np.inf, dtype=np.float32)
    for share in SHARES:
        scale = (widest * share).astype(np.float32)
        rounded = quantize_rows(matrix, weight_range, scale).values * scale[:, None]
        error = np.square(matrix - rounded).sum(axis=1)
        best = np.where(error < smallest, scale, best)
        smallest = np.minimum(error, smallest)
    return best


#: The scales that are tried, as shares of the largest one.
SHARES = np.linspace(1.0, 0.5, 26)


@dataclass(frozen=True)
class Nearest:
    """Rounds every weight to the nearest step of its row."""

    scales: Scales = row_scales

    def __call__(self, matrix: NDArray[np.float32], weight_range: WeightRange) -> QuantizedRows:
        """See :func:`quantize_rows`."""
        return quantize_rows(matrix, weight_range, self.scales(matrix, weight_range))

    def in_blocks(self, matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
        """See :func:`bertedge.graph.weight_blocks.quantize_blocks`."""
        return quantize_blocks(matrix, form)

    def scaled(self, factors: NDArray[np.float32]) -> Nearest:
        """This object: rounding to the nearest step does not depend on the inputs."""
        return self

    def shifted(self, shifts: NDArray[np.float32]) -> Nearest:
        """This object: rounding to the nearest step does not depend on the inputs."""
        return self


NEAREST = Nearest()


@dataclass(frozen=True, eq=False)
class WithMeanError:
    """Adds to another rounding the mean error of the products, which the bias corrects.

    Attributes:
        mean: mean of each input of the layer, (inputs,).
    """

    rounding: Rounding
    mean: NDArray[np.float32]

    def __call__(self, matrix: NDArray[np.float32], weight_range: WeightRange) -> QuantizedRows:
        """The rounded rows, with their mean error."""
        rows = self.rounding(matrix, weight_range)
        return replace(rows, lost=(matrix - rows.values * rows.scale[:, None]) @ self.mean)

    def in_blocks(self, matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
        """Blocks have too small a mean error to correct it."""
        return self.rounding.in_blocks(matrix, form)

    def scaled(self, factors: NDArray[np.float32]) -> WithMeanError:
        """Inputs are divided by the factors; an input with the factor zero is not read."""
        mean = np.divide(self.mean, factors, out=np.zeros_like(self.mean), where=factors != 0)
        return WithMeanError(self.rounding.scaled(factors), mean)

    def shifted(self, shifts: NDArray[np.float32]) -> WithMeanError:
        """The rounding for inputs whose means are lower by the shifts."""
        return WithMeanError(self.rounding.shifted(shifts), self.mean - shifts)


def quantize_rows(
    matrix: NDArray[np.float32], weight_range: WeightRange, scale: NDArray[np.float32] | None = None
) -> QuantizedRows:
    """Round each row to multiples of its scale, by default :func:`row_scales`; symmetric, never -128."""
    scale = row_scales(matrix, weight_range) if scale is None else scale
    scaled = matrix / scale[:, None]
    np.rint(scaled, out=scaled)
    values = np.clip(scaled, -weight_range.largest, weight_range.largest, out=scaled).astype(np.int8)
    if weight_range.limits_pairs:
        _limit_pairs(values, matrix, scale, weight_range)
    return QuantizedRows(values=values, scale=scale)


def _limit_pairs(
    values: NDArray[np.int8], matrix: NDArray[np.float32], scale: NDArray[np.float32], weight_range: WeightRange
) -> None:
    """Change pairs whose sum is too large to the nearest allowed pair, in place."""
    first, second = _pairs(values)
    sums = first + second.astype(np.int16)
    too_large = np.nonzero(np.abs(sums) > weight_range.pair)
    exact_first, exact_second = (exact[too_large] / scale[too_large[0]] for exact in _pairs(matrix))
    sign = np.sign(sums[too_large])
    bound, least = sign * weight_range.pair, weight_range.pair - weight_range.largest
    nearest = sign * np.clip(np.abs(np.rint((bound + exact_first - exact_second) / 2)), least, weight_range.largest)
    first[too_large], second[too_large] = nearest, bound - nearest


def _pairs(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Views of the columns of inputs 2i and of inputs 2i + 1; a last column without a partner is left out."""
    whole = matrix.shape[1] // 2 * 2
    return matrix[:, 0:whole:2], matrix[:, 1:whole:2]
