"""Look-up tables, and a decoder that shares the table of the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import DTypeLike
from onnx import TensorProto

from bertedge.graph.builder import GraphBuilder
from bertedge.graph.formats import BlockWeights, Float16Weights, Int8, NumberFormat
from bertedge.graph.linear import Int8Matrix, Load, corrected_bias
from bertedge.graph.rounding import NEAREST, QuantizedRows, Rounding, quantize_rows
from bertedge.graph.weight_blocks import BlockMatrix, QuantizedBlocks, block_matrix, look_up_blocks
from bertedge.weight_range import FULL_RANGE, WeightRange


@dataclass(frozen=True, kw_only=True)
class Table:
    """A look-up table (rows, columns) in the graph: float32, int8 with scales (rows, 1), or in blocks.

    Attributes:
        matrix: a table in blocks.
        rounded: gives the int8 rows.
        correction: errors of exact rows, (1 + exact rows, columns), and each row's index into them, (rows,).
    """

    values: str
    scale: str | None
    shape: tuple[int, int]
    matrix: BlockMatrix | None = None
    rounded: Callable[[], QuantizedRows] | None = None
    correction: tuple[str, str] | None = None


def table(
    g: GraphBuilder,
    name: str,
    form: NumberFormat,
    shape: tuple[int, int],
    load: Load,
    rounding: Rounding = NEAREST,
    exact: tuple[int, ...] = (),
) -> Table:
    """Add a table, unless there is one of that name already.

    Args:
        exact: rows of a rounded table whose errors are stored as well; see :class:`Int8Rows`.
    """
    if isinstance(form, Float16Weights):
        values = _cast(g, g.tensor(f"{name}.table", np.float16, shape, load), TensorProto.FLOAT)
        return Table(values=values, scale=None, shape=shape)
    if isinstance(form, BlockWeights):
        blocks = cache(lambda: rounding.in_blocks(load(), form))
        matrix = block_matrix(g, f"{name}.table", form, shape, blocks)
        correction = _correction(g, name, shape, blocks, load, exact) if exact else None
        return Table(values=matrix.values, scale=matrix.scale, shape=shape, matrix=matrix, correction=correction)
    if not isinstance(form, Int8):
        return Table(values=g.tensor(f"{name}.table", np.float32, shape, load), scale=None, shape=shape)
    rows = cache(lambda: rounding(load(), form.weight_range))
    values = g.tensor(f"{name}.table", np.int8, shape, lambda: rows().values)
    scale = g.tensor(f"{name}.table_scale", np.float32, (shape[0], 1), lambda: rows().scale[:, None])
    correction = _correction(g, name, shape, rows, load, exact) if exact else None
    return Table(values=values, scale=scale, shape=shape, rounded=rows, correction=correction)


def _correction(
    g: GraphBuilder,
    name: str,
    shape: tuple[int, int],
    rounded: Callable[[], QuantizedRows | QuantizedBlocks],
    load: Load,
    exact: tuple[int, ...],
) -> tuple[str, str]:
    """The rounding errors of some rows, stored as int8, and each row's index into them.

    They are looked up and never multiplied, so the weight range of the CPU does not matter.
    """
    chosen, columns = list(exact), shape[1]

    @cache
    def lost() -> QuantizedRows:
        zeros_first = ((1, 0), (0, 0))
        return quantize_rows(np.pad(load()[chosen] - rounded().floats(chosen), zeros_first), FULL_RANGE)

    index = np.zeros(shape[0], dtype=np.uint8)
    index[chosen] = 1 + np.arange(len(chosen))
    where = _cast(g, g.constant(f"{name}.exact.index", index), TensorProto.INT32)
    stored = g.tensor(f"{name}.exact.rows", np.int8, (1 + len(chosen), columns), lambda: lost().values)
    scale = g.tensor(f"{name}.exact.scale", np.float32, (1 + len(chosen), 1), lambda: lost().scale[:, None])
    return g.once("Mul", [_cast(g, stored, TensorProto.FLOAT), scale], f"{name}.exact.values"), where


def _cast(g: GraphBuilder, constant: str, to: int) -> str:
    """A constant that is converted to a wider type, once, when onnxruntime loads the model."""
    return g.once("Cast", [constant], f"{constant}.wide", to=to)


def look_up(g: GraphBuilder, name: str, rows: Table, ids: str) -> str:
    """The rows of ids as float32; int8 rows are scaled after the look-up, so the table stays int8 in memory."""
    if rows.matrix is not None:
        scaled = look_up_blocks(g, name, rows.matrix, ids)
    else:
        found = g.op("Gather", [rows.values, ids], f"{name}.rows")
        if rows.scale is None:
            return found
        row_scale = g.op("Gather", [rows.scale, ids], f"{name}.row_scale")
        scaled = g.op("Mul", [g.op("Cast", [found], f"{name}.float", to=TensorProto.FLOAT), row_scale], name)
    if rows.correction is None:
        return scaled
    lost, index = rows.correction
    which = g.op("Gather", [index, ids], f"{name}.exact.which")
    return g.op("Add", [scaled, g.op("Gather", [lost, which], f"{name}.lost")], f"{name}.exact")


@dataclass(frozen=True, kw_only=True)
class TableWeights:
    """A decoder that shares the words' table (Press and Wolf 2017), which is stored once.

    onnxruntime transposes it once, when it loads the model.
    """

    table: Table
    load_bias: Load = field(repr=False)
    stored_as: None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.table.shape

    def float_matrix(self, g: GraphBuilder, name: str, dtype: DTypeLike = np.float32) -> str:
        return g.op("Transpose", [self.table.values], f"{name}.transposed", perm=[1, 0])  # stored in its own type

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: WeightRange) -> Int8Matrix:
        scale, rounded = self.table.scale, self.table.rounded
        if scale is None or rounded is None:
            raise TypeError(f"{name}: an int8 decoder cannot share a float table")
        flat = g.constant(f"{name}.flat", [-1], np.int64)
        return Int8Matrix(
            values=self.float_matrix(g, name),
            scale=g.op("Reshape", [scale, flat], f"{name}.scale"),
            bias=g.tensor(
                f"{name}.bias", np.float32, self.shape[:1], lambda: corrected_bias(self.load_bias(), rounded())
            ),
        )

    def blocks(self, g: GraphBuilder, name: str, form: BlockWeights) -> BlockMatrix:
        matrix = self.table.matrix
        if matrix is None or (matrix.form.bits, matrix.form.block_size) != (form.bits, form.block_size):
            raise TypeError(f"{name}: {form} cannot share a table of another format")
        return matrix

    def bias(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{name}.bias", np.float32, self.shape[:1], self.load_bias)
