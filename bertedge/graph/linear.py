"""A linear layer in each number format. A new format is one dataclass in ``plan`` and one function here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, singledispatch
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.plan import (
    RESIDUAL_STEPS,
    DynamicInt8,
    Float16Weights,
    Float32,
    Int8,
    NumberFormat,
    StaticInt8,
    TwoTermInt8,
)
from bertedge.graph.rounding import NEAREST, Rounding

Load = Callable[[], NDArray[np.float32]]


class Weights(Protocol):
    """The weights of a linear layer, wherever they are stored; ``shape`` is (outputs, inputs)."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def float_matrix(self, g: GraphBuilder, name: str) -> str:
        """Add the matrix (inputs, outputs) as float32."""
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
    rounding: Rounding = NEAREST

    def float_matrix(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{name}.weight", np.float32, self.shape[::-1], lambda: self.load().T)

    def float16_matrix(self, g: GraphBuilder, name: str) -> str:
        """Add the matrix (inputs, outputs) as float32 that is float16 on disk; onnxruntime widens it when it loads."""
        stored = g.tensor(f"{name}.weight", np.float16, self.shape[::-1], lambda: self.load().T)
        return g.op("Cast", [stored], f"{name}.weight.float", to=TensorProto.FLOAT)

    def int8_matrix(self, g: GraphBuilder, name: str, weight_range: int) -> tuple[str, str]:
        rows = cache(lambda: self.rounding(self.load(), weight_range))
        weight = g.tensor(f"{name}.weight", np.int8, self.shape[::-1], lambda: rows().values.T)
        return weight, g.tensor(f"{name}.scale", np.float32, self.shape[:1], lambda: rows().scale)

    def bias(self, g: GraphBuilder, name: str) -> str:
        return g.tensor(f"{name}.bias", np.float32, self.shape[:1], self.load_bias)

    def columns(self, chosen: list[int]) -> OwnWeights:
        """The weights of some inputs only."""
        return replace(self, shape=(self.shape[0], len(chosen)), load=lambda: self.load()[:, chosen])

    def with_columns_scaled(self, factors: NDArray[np.float32]) -> OwnWeights:
        """Every input's weights multiplied by a number of its own."""
        return replace(self, load=lambda: self.load() * factors, rounding=self.rounding.scaled(factors))


@singledispatch
def linear(form: NumberFormat, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    """Write ``x @ weight.T + bias``; x is (..., inputs), the result (..., outputs)."""
    raise TypeError(f"no linear layer for {type(form).__name__}")


@linear.register
def _(form: Float32, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return _float_linear(g, name, x, weights.float_matrix(g, name), weights)


@linear.register
def _(form: Float16Weights, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return _float_linear(g, name, x, _own(form, name, weights).float16_matrix(g, name), weights)


@linear.register
def _(form: DynamicInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    return _int8_linear(form, g, name, x, weights)


@linear.register
def _(form: StaticInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    if form.input_divisors:
        x, weights = divided(form, g, x), with_divisors(form, name, weights)
    if not form.outliers:
        return _int8_linear(form, g, name, x, weights)
    own, chosen = _own(form, name, weights), list(form.outliers)
    rest = np.ones(own.shape[1], dtype=np.float32)
    rest[chosen] = 0
    inliers = _int8_linear(form, g, name, x, own.with_columns_scaled(rest))
    index = g.constant(f"{name}.outlier.index", chosen, np.int64)
    values = g.op("Gather", [x, index], f"{name}.outlier.values", axis=-1)
    product = g.op("MatMul", [values, own.columns(chosen).float16_matrix(g, f"{name}.outlier")], f"{name}.outlier")
    return g.op("Add", [inliers, product], f"{name}.joined")


def divided(form: StaticInt8, g: GraphBuilder, x: str) -> str:
    """x with every channel divided by its own number."""
    reciprocals = g.constant(f"{x}.reciprocals", 1 / np.asarray(form.input_divisors), np.float32)
    name = f"{x}.divided"
    return name if g.has(name) else g.op("Mul", [x, reciprocals], name)


def with_divisors(form: StaticInt8, name: str, weights: Weights) -> OwnWeights:
    """The weights that undo :func:`divided`."""
    return _own(form, name, weights).with_columns_scaled(np.asarray(form.input_divisors, dtype=np.float32))


def _own(form: NumberFormat, name: str, weights: Weights) -> OwnWeights:
    if not isinstance(weights, OwnWeights):
        raise TypeError(f"{name}: {form} would change a table that is shared")
    return weights


def _float_linear(g: GraphBuilder, name: str, x: str, matrix: str, weights: Weights) -> str:
    return g.op("Add", [g.op("MatMul", [x, matrix], f"{name}.matmul"), weights.bias(g, name)], name)


def _int8_linear(form: Int8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    weight, scale = weights.int8_matrix(g, name, form.weight_range)
    quantized = quantize_input(form, g, x)
    inputs = [quantized.values, weight, quantized.scale, scale, quantized.zero_point, "", weights.bias(g, name)]
    if not isinstance(form, TwoTermInt8):
        return g.op("MatMulIntegerToFloat", inputs, name, domain=MICROSOFT)
    first = g.op("MatMulIntegerToFloat", inputs, f"{name}.first", domain=MICROSOFT)
    rest = quantize_rest(form, g, x, quantized)
    inputs = [rest.values, weight, rest.scale, scale, rest.zero_point]
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


def quantize_rest(form: TwoTermInt8, g: GraphBuilder, x: str, first: QuantizedInput) -> QuantizedInput:
    """Write what the first rounding of x left over as uint8 around 128."""
    scale = g.constant(f"{x}.rest.scale", form.scale / RESIDUAL_STEPS, np.float32)
    zero_point = g.constant("rest.zero_point", 128, np.uint8)
    name = f"{x}.rest.quantized"
    if not g.has(name):
        rounded = g.op("DequantizeLinear", [first.values, first.scale, first.zero_point], f"{x}.rounded")
        g.op("QuantizeLinear", [g.op("Sub", [x, rounded], f"{x}.rest"), scale, zero_point], name)
    return QuantizedInput(values=name, scale=scale, zero_point=zero_point)


def has_int8_attention(form: NumberFormat) -> bool:
    """Whether :func:`int8_attention` computes this format: the operator multiplies once."""
    return isinstance(form, Int8) and not isinstance(form, TwoTermInt8)


def int8_attention(form: Int8, g: GraphBuilder, name: str, x: str, weights: Weights, mask: str, num_heads: int) -> str:
    """Query, key, value and attention over all positions in one operator, (B, S, H) -> (B, S, H).

    It multiplies straight into the layout that the heads need: a tenth faster in all than a matmul, Split and
    MultiHeadAttention.
    """
    if isinstance(form, StaticInt8) and form.input_divisors:
        x, weights = divided(form, g, x), with_divisors(form, name, weights)
    weight, scale = weights.int8_matrix(g, name, form.weight_range)
    quantized = quantize_input(form, g, x)
    inputs = [quantized.values, weight, weights.bias(g, name), quantized.scale, scale, mask, quantized.zero_point]
    return g.op("QAttention", inputs, f"{name}.context", domain=MICROSOFT, num_heads=num_heads)
