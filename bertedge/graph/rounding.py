"""How a float matrix becomes int8 rows: to the nearest step here, or by whatever else keeps to the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """A matrix (rows, columns) as int8 with one scale a row: ``values * scale[:, None]``."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


class Rounding(Protocol):
    """Rounds the matrix (outputs, inputs) of one linear layer."""

    def __call__(self, matrix: NDArray[np.float32], weight_range: int) -> QuantizedRows:
        """Symmetric int8 within +-``weight_range``, one scale a row."""
        ...

    def scaled(self, factors: NDArray[np.float32]) -> Rounding:
        """The rounding for the same layer where every column of the matrix is multiplied by a factor, (inputs,)."""
        ...


#: Layer name -> how its weights are rounded.
Roundings = Callable[[str], Rounding]


class Nearest:
    """Every weight to the nearest step of its row."""

    def __call__(self, matrix: NDArray[np.float32], weight_range: int) -> QuantizedRows:
        """See :func:`quantize_rows`."""
        return quantize_rows(matrix, weight_range)

    def scaled(self, factors: NDArray[np.float32]) -> Nearest:
        """The nearest step is the nearest step, whatever the columns were multiplied by."""
        return self


NEAREST = Nearest()


def row_scales(matrix: NDArray[np.float32], weight_range: int) -> NDArray[np.float32]:
    """The largest absolute value of each row / ``weight_range``, (rows,)."""
    largest = np.maximum(matrix.max(axis=1), -matrix.min(axis=1))
    # a row of zeros, or one so small that its scale would vanish, needs no scale
    scales = np.where(largest > np.finfo(np.float32).tiny * weight_range, largest / weight_range, 1.0)
    return scales.astype(np.float32)


def quantize_rows(matrix: NDArray[np.float32], weight_range: int) -> QuantizedRows:
    """Round each row to whole multiples of its scale (:func:`row_scales`); symmetric, never -128."""
    scale = row_scales(matrix, weight_range)
    scaled = matrix / scale[:, None]
    np.rint(scaled, out=scaled)
    values = np.clip(scaled, -weight_range, weight_range, out=scaled).astype(np.int8)
    return QuantizedRows(values=values, scale=scale)
