"""How a linear layer is written in each number format. A new format is one dataclass in ``plan`` and one function here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, singledispatch
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.plan import DynamicInt8, Float32, Int8, NumberFormat, StaticInt8

Load = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """A matrix (rows, columns) as int8 with one scale a row: ``values * scale[:, None]``."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


def quantize_rows(matrix: NDArray[np.float32], weight_range: int) -> QuantizedRows:
    """Round each row to whole multiples of its largest absolute value / ``weight_range``; symmetric, never -128."""
    largest = np.maximum(matrix.max(axis=1), -matrix.min(axis=1))
    # a row of zeros, or one so small that its scale would vanish, needs no scale
    scale = np.where(largest > np.finfo(np.float32).tiny * weight_range, largest / weight_range, 1.0).astype(np.float32)
    scaled = matrix / scale[:, None]
    np.rint(scaled, out=scaled)
    values = np.clip(scaled, -weight_range, weight_range, out=scaled).astype(np.int8)
    return QuantizedRows(values=values, scale=scale)


class Weights(Protocol):
    """The weights of a linear layer, wherever they are stored; ``shape`` is (outputs, inputs)."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def float_matrix(self, g: GraphBuilder, name: str) -> str:
        """Add the float32 matrix (inputs, outputs)."""
        ...

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: int) -> tuple[str, str]:
        """Add the int8 matrix (inputs, outputs) and its scales (outputs,)."""
        ...

    def bias(self, g: GraphBuilder, name: str) -> str:
        """Add the bias (outputs,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class OwnWeights:
    """A matrix (outputs, inputs) of this layer's own, loaded when it is written."""

    shape: tuple[int, int]
    load: Load = field(repr=False)
    load_bias: Load = field(repr=False)

    def float_matrix(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{name}.weight", np.float32, self.shape[::-1], lambda: self.load().T)

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: int) -> tuple[str, str]:
        rows = cache(lambda: quantize_rows(self.load(), weight_range))
        weight = g.tensor(f"{name}.weight", np.int8, self.shape[::-1], lambda: rows().values.T)
        return weight, g.tensor(f"{name}.scale", np.float32, self.shape[:1], lambda: rows().scale)

    def bias(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{name}.bias", np.float32, self.shape[:1], self.load_bias)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A look-up table (rows, columns) in the graph: float32, or int8 with scales (rows, 1)."""

    values: str
    scale: str | None
    shape: tuple[int, int]


def table(g: GraphBuilder, name: str, form: NumberFormat, shape: tuple[int, int], load: Load) -> Table:
    """Add a table; asking for the same name again stores nothing twice."""
    if isinstance(form, Float32):
        return Table(values=g.tensor(f"{name}.table", np.float32, shape, load), scale=None, shape=shape)
    rows = cache(lambda: quantize_rows(load(), form.weight_range))
    values = g.tensor(f"{name}.table", np.int8, shape, lambda: rows().values)
    scale = g.tensor(f"{name}.table_scale", np.float32, (shape[0], 1), lambda: rows().scale[:, None])
    return Table(values=values, scale=scale, shape=shape)


@dataclass(frozen=True, kw_only=True)
class TableWeights:
    """A decoder that shares the embeddings' table (Press and Wolf 2017): one copy on disk.

    The transposition reads constants only, so onnxruntime does it once, when it loads the model.
    """

    table: Table
    load_bias: Load = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.table.shape

    def float_matrix(self, g: GraphBuilder, name: str) -> str:
        return g.op("Transpose", [self.table.values], f"{name}.transposed", perm=[1, 0])

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: int) -> tuple[str, str]:
        assert self.table.scale is not None, "a tied table has its decoder's format"
        flat = g.constant(f"{name}.flat", [-1], np.int64)
        return self.float_matrix(g, name), g.op("Reshape", [self.table.scale, flat], f"{name}.scale")

    def bias(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{name}.bias", np.float32, self.shape[:1], self.load_bias)


@singledispatch
def linear(form: NumberFormat, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    """Write ``x @ weight.T + bias``; x is (..., inputs), the result (..., outputs)."""
    raise TypeError(f"no linear layer for {type(form).__name__}")


@linear.register
def _(form: Float32, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    product = g.op("MatMul", [x, weights.float_matrix(g, name)], f"{name}.matmul")
    return g.op("Add", [product, weights.bias(g, name)], name)


@linear.register(DynamicInt8)
@linear.register(StaticInt8)
def _(form: Int8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    weight, scale = weights.int8_matrix(g, name, form.weight_range)
    quantized = quantize_input(form, g, x)
    inputs = [quantized.values, weight, quantized.scale, scale, quantized.zero_point, "", weights.bias(g, name)]
    return g.op("MatMulIntegerToFloat", inputs, name, domain=MICROSOFT)


@dataclass(frozen=True, kw_only=True)
class QuantizedInput:
    """An activation as uint8, with its scale and zero point (scalars)."""

    values: str
    scale: str
    zero_point: str


@singledispatch
def quantize_input(form: Int8, g: GraphBuilder, x: str) -> QuantizedInput:
    """Write x as uint8; layers that read the same x share one conversion."""
    raise TypeError(f"no quantized input for {type(form).__name__}")


@quantize_input.register
def _(form: DynamicInt8, g: GraphBuilder, x: str) -> QuantizedInput:
    name = f"{x}.quantized"
    if not g.has(name):
        g.op("DynamicQuantizeLinear", [x], name, outputs=3)
    return QuantizedInput(values=name, scale=f"{name}.1", zero_point=f"{name}.2")


@quantize_input.register
def _(form: StaticInt8, g: GraphBuilder, x: str) -> QuantizedInput:
    scale = g.constant(f"{x}.scale", form.scale, np.float32)
    zero_point = g.constant(f"{x}.zero_point", form.zero_point, np.uint8)
    name = f"{x}.quantized"
    if not g.has(name):
        g.op("QuantizeLinear", [x, scale, zero_point], name)
    return QuantizedInput(values=name, scale=scale, zero_point=zero_point)


def int8_attention(form: Int8, g: GraphBuilder, name: str, x: str, weights: Weights, mask: str, num_heads: int) -> str:
    """Query, key, value and attention over all positions in one operator, (B, S, H) -> (B, S, H).

    It multiplies straight into the layout that the heads need: a tenth faster in all than a matmul, Split and
    MultiHeadAttention.
    """
    weight, scale = weights.int8_matrix(g, name, form.weight_range)
    quantized = quantize_input(form, g, x)
    inputs = [quantized.values, weight, weights.bias(g, name), quantized.scale, scale, mask, quantized.zero_point]
    return g.op("QAttention", inputs, f"{name}.context", domain=MICROSOFT, num_heads=num_heads)
