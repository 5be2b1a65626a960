"""A linear layer in each number format. A new format is one dataclass in ``formats`` and one function here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, singledispatch
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto

from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.formats import (
    RESIDUAL_STEPS,
    BlockWeights,
    DynamicInt8,
    Float16Weights,
    Float32,
    Int8,
    NumberFormat,
    StaticInt8,
    TwoTermInt8,
)
from bertedge.graph.rounding import NEAREST, QuantizedRows, Rounding
from bertedge.graph.weight_blocks import BlockMatrix, block_matrix, multiply
from bertedge.weight_range import WeightRange

Load = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Int8Matrix:
    """A matrix (inputs, outputs) as int8, its scales (outputs,) and the bias that belongs to it (outputs,)."""

    values: str
    scale: str
    bias: str


class Weights(Protocol):
    """The weights of a linear layer: its own, or those of a table; ``shape`` is (outputs, inputs)."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def stored_as(self) -> str | None:
        """The name of the layer whose tensors these are; None for the layer that is written."""
        ...

    def float_matrix(self, g: GraphBuilder, name: str, dtype: DTypeLike = np.float32) -> str:
        """Add the matrix (inputs, outputs) as float32; stored as float16, onnxruntime converts it on load."""
        ...

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: WeightRange) -> Int8Matrix:
        """Add the matrix as int8."""
        ...

    def blocks(self, g: GraphBuilder, name: str, form: BlockWeights) -> BlockMatrix:
        """Add the matrix in blocks."""
        ...

    def bias(self, g: GraphBuilder, name: str) -> str:
        """Add the bias (outputs,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class OwnWeights:
    """A matrix (outputs, inputs) that is no table; it is loaded when the file is written."""

    shape: tuple[int, int]
    load: Load = field(repr=False)
    load_bias: Load = field(repr=False)
    rounding: Rounding = NEAREST
    stored_as: str | None = None

    def float_matrix(self, g: GraphBuilder, name: str, dtype: DTypeLike = np.float32) -> str:
        name = self.stored_as or name
        stored = g.tensor(f"{name}.weight", dtype, self.shape[::-1], lambda: self.load().T)
        if dtype == np.float32:
            return stored
        return g.once("Cast", [stored], f"{name}.weight.float", to=TensorProto.FLOAT)

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: WeightRange) -> Int8Matrix:
        name, rows = self.stored_as or name, cache(lambda: self.rounding(self.load(), weight_range))
        return Int8Matrix(
            values=g.tensor(f"{name}.weight", np.int8, self.shape[::-1], lambda: rows().values.T),
            scale=g.tensor(f"{name}.scale", np.float32, self.shape[:1], lambda: rows().scale),
            bias=g.tensor(f"{name}.bias", np.float32, self.shape[:1], lambda: corrected_bias(self.load_bias(), rows())),
        )

    def blocks(self, g: GraphBuilder, name: str, form: BlockWeights) -> BlockMatrix:
        rounded = cache(lambda: self.rounding.in_blocks(self.load(), form))
        return block_matrix(g, f"{self.stored_as or name}.weight", form, self.shape, rounded)

    def bias(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{self.stored_as or name}.bias", np.float32, self.shape[:1], self.load_bias)

    def columns(self, chosen: list[int]) -> OwnWeights:
        """The weights of some inputs only."""
        stored = f"{self.stored_as}.outlier" if self.stored_as else None
        shape = (self.shape[0], len(chosen))
        return replace(self, shape=shape, load=lambda: self.load()[:, chosen], stored_as=stored)

    def with_columns_scaled(self, factors: NDArray[np.float32]) -> OwnWeights:
        """The weights of each input multiplied by its factor."""
        return replace(self, load=lambda: self.load() * factors, rounding=self.rounding.scaled(factors))

    def with_inputs_shifted(self, shifts: NDArray[np.float32]) -> OwnWeights:
        """The weights and the bias for inputs from which the shifts were subtracted."""

        def load_bias() -> NDArray[np.float32]:
            return (self.load_bias() + self.load().astype(np.float64) @ shifts).astype(np.float32)

        return replace(self, load_bias=load_bias, rounding=self.rounding.shifted(shifts))


def corrected_bias(bias: NDArray[np.float32], rows: QuantizedRows) -> NDArray[np.float32]:
    """The bias plus the mean error that rounding the weights causes."""
    return bias if rows.lost is None else bias + rows.lost


@singledispatch
def linear(form: NumberFormat, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    """Write ``x @ weight.T + bias``; x is (..., inputs), the result (..., outputs)."""
    raise TypeError(f"no linear layer for {type(form).__name__}")


@linear.register
def _(form: Float32, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return _float_linear(g, name, x, weights.float_matrix(g, name), weights)


@linear.register
def _(form: Float16Weights, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return _float_linear(g, name, x, weights.float_matrix(g, name, np.float16), weights)


@linear.register
def _(form: DynamicInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return _int8_linear(form, g, name, x, weights)


@linear.register
def _(form: StaticInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    x, weights = balanced(form, g, name, x, weights)
    if not form.outliers:
        return _int8_linear(form, g, name, x, weights)
    own, chosen = _own(form, name, weights), list(form.outliers)
    kept = np.ones(own.shape[1], dtype=np.float32)
    kept[chosen] = 0
    inliers = _int8_linear(form, g, name, x, own.with_columns_scaled(kept))
    index = g.constant(f"{name}.outlier.index", chosen, np.int64)
    values = g.op("Gather", [x, index], f"{name}.outlier.values", axis=-1)
    product = g.op(
        "MatMul", [values, own.columns(chosen).float_matrix(g, f"{name}.outlier", np.float16)], f"{name}.outlier"
    )
    return g.op("Add", [inliers, product], f"{name}.joined")


@linear.register
def _(form: BlockWeights, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return multiply(g, name, x, weights.blocks(g, name, form), weights.bias(g, name))


def balanced(form: StaticInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> tuple[str, Weights]:
    """x with its channels shifted and divided, and the weights that undo it (SmoothQuant)."""
    if form.input_shifts:
        shifts = np.asarray(form.input_shifts, dtype=np.float32)
        weights = _own(form, name, weights).with_inputs_shifted(shifts)
        x = g.once("Sub", [x, g.constant(f"{x}.shifts", shifts)], f"{x}.shifted")
    if form.input_divisors:
        divisors = np.asarray(form.input_divisors, dtype=np.float32)
        weights = _own(form, name, weights).with_columns_scaled(divisors)
        x = g.once("Mul", [x, g.constant(f"{x}.reciprocals", 1 / divisors)], f"{x}.divided")
    return x, weights


def _own(form: NumberFormat, name: str, weights: Weights) -> OwnWeights:
    if not isinstance(weights, OwnWeights):
        raise TypeError(f"{name}: {form} would change a table that the embeddings share")
    return weights


def _float_linear(g: GraphBuilder, name: str, x: str, matrix: str, weights: Weights) -> str:
    return g.op("Add", [g.op("MatMul", [x, matrix], f"{name}.matmul"), weights.bias(g, name)], name)


def _int8_linear(form: Int8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    matrix, quantized = weights.int8_matrix(g, name, form.weight_range), quantize_input(form, g, x)
    inputs = [quantized.values, matrix.values, quantized.scale, matrix.scale, quantized.zero_point, "", matrix.bias]
    if not isinstance(form, TwoTermInt8):
        return g.op("MatMulIntegerToFloat", inputs, name, domain=MICROSOFT)
    first = g.op("MatMulIntegerToFloat", inputs, f"{name}.first", domain=MICROSOFT)
    residual = quantize_residual(form, g, x, quantized)
    inputs = [residual.values, matrix.values, residual.scale, matrix.scale, residual.zero_point]
    second = g.op("MatMulIntegerToFloat", inputs, f"{name}.second", domain=MICROSOFT)
    return g.op("Add", [first, second], name)


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
    name = g.once("DynamicQuantizeLinear", [x], f"{x}.quantized", outputs=3)
    return QuantizedInput(values=name, scale=f"{name}.1", zero_point=f"{name}.2")


@quantize_input.register
def _(form: StaticInt8, g: GraphBuilder, x: str) -> QuantizedInput:
    scale = g.constant(f"{x}.scale", form.scale, np.float32)
    zero_point = g.constant(f"{x}.zero_point", form.zero_point, np.uint8)
    values = g.once("QuantizeLinear", [x, scale, zero_point], f"{x}.quantized")
    return QuantizedInput(values=values, scale=scale, zero_point=zero_point)


def quantize_residual(form: TwoTermInt8, g: GraphBuilder, x: str, first: QuantizedInput) -> QuantizedInput:
    """Write the error of the first rounding of x as uint8 with the zero point 128."""
    scale = g.constant(f"{x}.rest.scale", form.scale / RESIDUAL_STEPS, np.float32)
    zero_point = g.constant("rest.zero_point", 128, np.uint8)
    rounded = g.once("DequantizeLinear", [first.values, first.scale, first.zero_point], f"{x}.rounded")
    rest = g.once("Sub", [x, rounded], f"{x}.rest")
    values = g.once("QuantizeLinear", [rest, scale, zero_point], f"{rest}.quantized")
    return QuantizedInput(values=values, scale=scale, zero_point=zero_point)


def has_int8_attention(form: NumberFormat) -> bool:
    """Whether :func:`int8_attention` can compute this format. It cannot compute two int8 terms."""
    return isinstance(form, Int8) and not isinstance(form, TwoTermInt8)


def int8_attention(form: Int8, g: GraphBuilder, name: str, x: str, weights: Weights, mask: str, num_heads: int) -> str:
    """Query, key, value and attention over all positions in one operator, (B, S, H) -> (B, S, H).

    It writes its products in the layout that the attention heads need. The whole model is a tenth faster than with a
    matmul, Split and MultiHeadAttention.
    """
    if isinstance(form, StaticInt8):
        x, weights = balanced(form, g, name, x, weights)
    matrix, quantized = weights.int8_matrix(g, name, form.weight_range), quantize_input(form, g, x)
    inputs = [quantized.values, matrix.values, matrix.bias, quantized.scale, matrix.scale, mask, quantized.zero_point]
    return g.op("QAttention", inputs, f"{name}.context", domain=MICROSOFT, num_heads=num_heads)
