"""Compensated rounding: columns are rounded one after the other, and later columns correct the errors of earlier ones.

Rounding to the nearest step is best for a single weight, but not for the output of a layer: its inputs are correlated,
so one weight can compensate the error of another. With X the inputs in calibration, the loss of a row w of the matrix
is (w - q) X^T X (w - q)^T. The best update of the other columns after one is rounded has a closed form (Frantar et
al. 2023, "GPTQ", algorithm 1; Hassibi and Stork 1993). It costs nothing at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import EncoderConfig
from bertedge.graph.formats import BlockWeights
from bertedge.graph.rounding import NEAREST, Nearest, QuantizedRows, Rounding
from bertedge.graph.weight_blocks import QuantizedBlocks, block_scales
from bertedge.weight_range import WeightRange

#: Damping: this share of the mean squared input is added to each squared input, or rare inputs would get all errors.
DAMPING = 0.01
#: Columns that are rounded before the remaining columns are updated.
BLOCK = 128
#: Outputs of a block format that are rounded together, so that they fit into the CPU's cache.
OUTPUTS = 1024
#: Rows of inputs that are multiplied together.
ROWS = 512
#: Largest model that is compensated by default, in multiply-accumulates of a token: 30 million is 8 layers x 512.
MAX_MACS = 30_000_000


def is_cheap(config: EncoderConfig) -> bool:
    """Whether compensation takes seconds, not minutes: its work grows with the cube of the layers' width."""
    return config.block_macs <= MAX_MACS


class Products:
    """Sums over the inputs x of a layer.

    A text has fewer rows than most layers have channels, so adding its products would take longer than computing them.
    So rows are collected first.
    """

    def __init__(self, channels: int) -> None:
        self._products = np.zeros((channels, channels), dtype=np.float32)
        self._sums = np.zeros(channels, dtype=np.float32)
        self._count = 0
        self._rows: list[NDArray[np.float32]] = []

    @classmethod
    def together(cls, parts: Sequence[Products]) -> Products:
        """The sums over the inputs of all parts."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(len(parts[0]._sums))
        for part in parts:
            part._add()
            whole._products += part._products
            whole._sums += part._sums
            whole._count += part._count
        return whole

    def observe(self, values: NDArray[np.float32]) -> None:
        """Add values of shape (..., channels)."""
        self._rows.append(values.reshape(-1, values.shape[-1]))
        if sum(map(len, self._rows)) >= ROWS:
            self._add()

    def rounding(self, nearest: Nearest = NEAREST) -> Compensated:
        """The rounding for all inputs observed so far."""
        self._add()
        return Compensated(products=self._products, sums=self._sums, rows=self._count, nearest=nearest)

    def _add(self) -> None:
        if self._rows:
            rows = np.concatenate(self._rows)
            self._products += rows.T @ rows
            self._sums += rows.sum(axis=0)
            self._count += len(rows)
            self._rows = []


@dataclass(frozen=True, kw_only=True, eq=False)
class Compensated:
    """Rounds the matrix of a layer for the inputs that calibration observed.

    Attributes:
        products: sum of x x^T over the inputs x, (inputs, inputs).
        sums: sum of x, (inputs,).
        rows: the number of inputs.
        nearest: gives the scales, and rounds a layer without inputs.
    """

    products: NDArray[np.float32]
    sums: NDArray[np.float32]
    rows: int
    nearest: Nearest = NEAREST

    def scaled(self, factors: NDArray[np.float32]) -> Rounding:
        """Inputs are divided by the factors; an input with the factor zero is not read."""
        inverse = np.divide(1, factors, out=np.zeros(len(factors), dtype=np.float32), where=factors != 0)
        return replace(self, products=self.products * inverse[:, None] * inverse, sums=self.sums * inverse)

    def shifted(self, shifts: NDArray[np.float32]) -> Rounding:
        """The products and sums of x - shifts."""
        crossed = np.outer(self.sums, shifts)
        products = self.products - crossed - crossed.T + self.rows * np.outer(shifts, shifts)
        return replace(self, products=products, sums=self.sums - self.rows * shifts)

    def __call__(self, matrix: NDArray[np.float32], weight_range: WeightRange) -> QuantizedRows:
        """Round the matrix, (outputs, inputs); to the nearest step if there were no inputs."""
        order, factor = self._order_and_factor()
        if factor is None:
            return self.nearest(matrix, weight_range)
        scale = self.nearest.scales(matrix, weight_range)
        steps = _round_columns(matrix.T[order] / scale, factor, _in_pairs(order, weight_range))
        return QuantizedRows(values=_in_input_order(steps, order), scale=scale)

    def in_blocks(self, matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
        """Round the matrix in blocks, with the scales of the matrix before any compensation."""
        order, factor = self._order_and_factor()
        if factor is None:
            return self.nearest.in_blocks(matrix, form)
        scale = block_scales(matrix, form)
        block_of = order // form.block_size
        values = np.empty(matrix.shape, dtype=np.int8)
        for start in range(0, len(matrix), OUTPUTS):
            rows = slice(start, start + OUTPUTS)
            columns, units = matrix[rows].T[order], scale[rows].T[block_of]
            steps = _round_columns(columns, factor, lambda index, rounded: (form.lowest, form.highest), units)
            values[rows] = _in_input_order(steps, order)
        return QuantizedBlocks(form=form, values=values, scale=scale)

    def _order_and_factor(self) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """The inputs in falling order of size, and :func:`_inverse_factor` in this order.

        Large inputs come first, while many columns remain that can compensate.
        """
        order = np.argsort(-self.products.diagonal(), kind="stable")
        return order, _inverse_factor(self.products[np.ix_(order, order)])


def _in_input_order(steps: NDArray[np.int8], order: NDArray[np.int64]) -> NDArray[np.int8]:
    """(inputs in some order, outputs) -> (outputs, inputs)."""
    values = np.empty(steps.shape, dtype=np.int8)
    values[order] = steps
    return np.ascontiguousarray(values.T)


def _inverse_factor(products: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Upper triangular U with U^T U = (products + damping)^-1; None if there were no inputs."""
    mean = float(products.diagonal().mean())
    if not np.isfinite(mean) or mean <= 0:
        return None
    damped = products / mean
    damped[np.diag_indices_from(damped)] += DAMPING
    # With P the reversal of order, the Cholesky factor L of P A P gives A = (P L P)(P L P)^T, and U = (P L P)^-1.
    try:
        lower = np.linalg.cholesky(damped[::-1, ::-1])
    except np.linalg.LinAlgError:
        return None
    return np.ascontiguousarray(_inverse_lower(lower)[::-1, ::-1])


def _inverse_lower(lower: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of a lower triangular matrix, by halves: an eighth of the work of a general inverse."""
    size = len(lower)
    if size <= BLOCK:
        return np.linalg.inv(lower)
    half = size // 2
    first, last = _inverse_lower(lower[:half, :half]), _inverse_lower(lower[half:, half:])
    inverse = np.zeros_like(lower)
    inverse[:half, :half], inverse[half:, half:] = first, last
    inverse[half:, :half] = -last @ (lower[half:, :half] @ first)
    return inverse


#: (index of a column, the rounded columns before it) -> the lowest and the highest step that it may have.
Ends = Callable[[int, NDArray[np.int8]], tuple[NDArray[np.int16] | int, NDArray[np.int16] | int]]


def _in_pairs(order: NDArray[np.int64], weight_range: WeightRange) -> Ends:
    """The limits of each column in this order: of a pair, the later column's depend on the earlier one."""
    place = np.argsort(order)
    partner = [int(place[other]) if other < len(order) else len(order) for other in order ^ 1]

    def ends(index: int, rounded: NDArray[np.int8]) -> tuple[NDArray[np.int16] | int, NDArray[np.int16] | int]:
        if weight_range.limits_pairs and partner[index] < index:
            return weight_range.partner_limits(rounded[partner[index]])
        return -weight_range.largest, weight_range.largest

    return ends


def _round_columns(
    columns: NDArray[np.float32],
    factor: NDArray[np.float32],
    ends: Ends,
    units: NDArray[np.float32] | None = None,
) -> NDArray[np.int8]:
    """Round weights, (inputs, outputs), in the order of the inputs.

    Args:
        columns: is overwritten.
        ends: gives the limits of each column.
        units: the step of each weight; None if the columns are already divided by their steps.
    """
    values = np.empty(columns.shape, dtype=np.int8)
    for start in range(0, len(columns), BLOCK):
        end = min(start + BLOCK, len(columns))
        errors = np.empty((end - start, columns.shape[1]), dtype=np.float32)
        for index in range(start, end):
            unit = 1.0 if units is None else units[index]
            rounded = np.clip(np.rint(columns[index] / unit), *ends(index, values))
            values[index] = rounded
            error = (columns[index] - rounded * unit) / factor[index, index]
            errors[index - start] = error
            columns[index + 1 : end] -= factor[index, index + 1 : end, None] * error
        columns[end:] -= factor[start:end, end:].T @ errors
    return values
