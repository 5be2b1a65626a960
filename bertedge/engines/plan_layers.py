"""The layers of a bundle in numpy: tables, linear layers and layer norms, from ``plan.json`` and its tensors alone.

int8 layers are computed as the native engine computes them: an activation is quantized for each token by itself. The
lowest and the highest value of a token's inputs are the levels 0 and 255, and sums are exact::

    step = (high - low) / 255        level = rint((x - low) / step)        x = step * level + low
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertedge.engines.numpy.int8_matmul import exact_sums
from bertedge.engines.plan_tensors import PlanTensors
from bertedge.plan import StoredLayer, StoredMatrix, StoredModel, StoredTable

Floats = NDArray[np.float32]
#: Levels above the lowest one; and steps of the second term in one step of the first: 127 on each side.
TOP_LEVEL, RESIDUAL_STEPS = np.float32(255), np.float32(254)


class Term(NamedTuple):
    """A part of quantized activations: step * levels + offset.

    Attributes:
        levels: whole numbers, (rows, inputs).
        step, offset: of each row, (rows, 1); or one number.
    """

    levels: Floats
    step: Any
    offset: Any


class PlanLayers:
    """The layers of a bundle's folder.

    Args:
        replaced: tensor's name -> value that is used instead of the file's.
    """

    def __init__(self, folder: Path, plan: StoredModel, replaced: Mapping[str, Floats] | None = None) -> None:
        self.folder, self.plan = folder, plan
        self._tensors, self._replaced = PlanTensors(folder, plan), replaced or {}

    def tensor(self, name: str) -> NDArray[Any]:
        """A tensor; float16 becomes float32."""
        stored = self._replaced[name] if name in self._replaced else self._tensors.array(name)
        return stored.astype(np.float32) if stored.dtype == np.float16 else stored

    def norm(self, name: str, x: Floats) -> Floats:
        """A layer norm, over the last axis."""
        stored = self.plan.norms[name]
        centered = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centered).mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt(variance + np.float32(self.plan.encoder["layer_norm_eps"]))
        return scaled * self.tensor(stored.weight) + self.tensor(stored.bias)

    # -- tables -------------------------------------------------------------------------------------------------

    def rows(self, name: str, ids: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Rows of a table, (ids, columns)."""
        table = self.plan.tables[name]
        values = self._table_rows(table, ids)
        if table.exact is not None:
            which = self.tensor(table.exact.index)[ids]
            values = values + (self.tensor(table.exact.rows) * self.tensor(table.exact.scale))[which]
        return values if table.reciprocals is None else values * self.tensor(table.reciprocals)

    def _table_rows(self, table: StoredTable, ids: Sequence[int] | NDArray[np.int64]) -> Floats:
        values = self.tensor(table.values)[ids]
        if table.scale is None:
            return values
        scale = self.tensor(table.scale)[ids]
        if table.blocks is None:
            return values * scale
        return in_floats(values, scale, table.blocks.bits, table.blocks.block_size)[:, : table.columns]

    # -- linear layers ------------------------------------------------------------------------------------------

    def linear(self, name: str, x: Floats) -> Floats:
        """(rows, inputs) -> (rows, outputs)."""
        layer = self.plan.layers[name]
        parts = [self._multiply(layer, matrix, x) for matrix in layer.matrices]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _multiply(self, layer: StoredLayer, matrix: StoredMatrix, x: Floats) -> Floats:
        if matrix.shifts is not None:
            x = x - self.tensor(matrix.shifts)
        if matrix.reciprocals is not None:
            x = x * self.tensor(matrix.reciprocals)
        weight = self.tensor(matrix.weight)
        scale = None if matrix.scale is None else self.tensor(matrix.scale)
        if layer.blocks is not None:
            weight = in_floats(weight, scale, layer.blocks.bits, layer.blocks.block_size)[:, : layer.inputs]
        weight = (weight.T if matrix.layout == "outputs_inputs" else weight).astype(np.float32, copy=False)
        if scale is None or layer.blocks is not None:
            y = x @ weight
        else:
            y = self._quantized_product(layer, x, weight, scale.reshape(-1))
        y = y + self.tensor(matrix.bias)
        if matrix.outlier_weight is not None:
            y = y + x[:, list(layer.outliers)] @ self.tensor(matrix.outlier_weight)
        return np.asarray(y, dtype=np.float32)

    def _quantized_product(self, layer: StoredLayer, x: Floats, weight: Floats, scale: Floats) -> Floats:
        """The product with int8 weights (inputs, outputs), times their scale (outputs,)."""
        column_sums = weight.sum(axis=0) * scale
        return sum(
            exact_sums(term.levels, weight).astype(np.float32) * (term.step * scale) + term.offset * column_sums
            for term in self.terms(layer, x)
        )

    def terms(self, layer: StoredLayer, x: Floats) -> list[Term]:
        """Quantize the input of a layer, token by token, into one or two terms."""
        inside = x.copy()
        inside[:, list(layer.outliers)] = 0
        low, high = inside.min(axis=1, keepdims=True), inside.max(axis=1, keepdims=True)
        step = (high - low) / TOP_LEVEL
        levels = steps_of(x - low, step).clip(0, TOP_LEVEL)
        terms = [Term(levels, step, low)]
        if layer.format == "two_term_int8":
            smaller = step / RESIDUAL_STEPS
            terms.append(Term(steps_of(x - (step * levels + low), smaller).clip(-127, 127), smaller, np.float32(0)))
        return terms


def steps_of(x: Floats, step: Any) -> Floats:
    """How many steps x is, rounded, halves to even; 0 where a step is 0."""
    return np.rint(np.divide(x, step, out=np.zeros_like(x), where=np.broadcast_to(step > 0, x.shape)))


def in_floats(packed: NDArray[np.uint8], scale: Any, bits: int, block_size: int) -> Floats:
    """Rows in blocks as float32, padding included."""
    levels = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    return (levels.astype(np.float32) - 2 ** (bits - 1)) * np.repeat(scale, block_size, axis=1)
