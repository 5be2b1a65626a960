"""How a linear layer is written in each number format. A new format is one dataclass in ``plan`` and one function here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, singledispatch

import numpy as np
from numpy.typing import NDArray

from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.plan import DynamicInt8, Float32, NumberFormat, StaticInt8


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weight matrix (outputs, inputs) that is loaded when it is needed, and its bias (outputs,)."""

    shape: tuple[int, int]
    load: Callable[[], NDArray[np.float32]] = field(repr=False)
    load_bias: Callable[[], NDArray[np.float32]] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class QuantizedRows:
    """A matrix (rows, columns) as int8 with one scale a row: ``values * scale[:, None]``."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


def quantize_rows(matrix: NDArray[np.float32], weight_range: int) -> QuantizedRows:
    """Round each row to whole multiples of its largest absolute value / ``weight_range``; symmetric, never -128."""
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > 0, largest / weight_range, 1.0).astype(np.float32)
    scaled = matrix / scale[:, None]
    values = np.clip(np.rint(scaled, out=scaled), -weight_range, weight_range, out=scaled).astype(np.int8)
    return QuantizedRows(values=values, scale=scale)


@singledispatch
def linear(form: NumberFormat, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    """Write ``x @ weight.T + bias``; x is (..., inputs), the result (..., outputs)."""
    raise TypeError(f"no linear layer for {type(form).__name__}")


@linear.register
def _(form: Float32, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    outputs, inputs = weights.shape
    weight = g.tensor(f"{name}.weight", np.float32, (inputs, outputs), lambda: weights.load().T)
    bias = g.tensor(f"{name}.bias", np.float32, (outputs,), weights.load_bias)
    return g.op("Add", [g.op("MatMul", [x, weight], f"{name}.matmul"), bias], name)


@linear.register
def _(form: DynamicInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    weight, scale, bias = _int8_weights(g, name, weights, form.weight_range)
    return g.op("DynamicQuantizeMatMul", [x, weight, scale, "", bias], name, domain=MICROSOFT)


@linear.register
def _(form: StaticInt8, g: GraphBuilder, name: str, x: str, weights: Weights) -> str:
    weight, scale, bias = _int8_weights(g, name, weights, form.weight_range)
    return static_matmul(form, g, name, x, weight, scale, bias)


def static_matmul(form: StaticInt8, g: GraphBuilder, name: str, x: str, weight: str, scale: str, bias: str) -> str:
    """Quantize x with the calibrated range, multiply, and scale back to float."""
    x_scale = g.constant(f"{name}.input_scale", form.scale, np.float32)
    x_zero_point = g.constant(f"{name}.input_zero_point", form.zero_point, np.uint8)
    quantized = g.op("QuantizeLinear", [x, x_scale, x_zero_point], f"{name}.quantized")
    inputs = [quantized, weight, x_scale, scale, x_zero_point, "", bias]
    return g.op("MatMulIntegerToFloat", inputs, name, domain=MICROSOFT)


def _int8_weights(g: GraphBuilder, name: str, weights: Weights, weight_range: int) -> tuple[str, str, str]:
    """int8 matrix (inputs, outputs), scale and bias (outputs,)."""
    rows = cache(lambda: quantize_rows(weights.load(), weight_range))
    outputs, inputs = weights.shape
    weight = g.tensor(f"{name}.weight", np.int8, (inputs, outputs), lambda: rows().values.T)
    scale = g.tensor(f"{name}.scale", np.float32, (outputs,), lambda: rows().scale)
    bias = g.tensor(f"{name}.bias", np.float32, (outputs,), weights.load_bias)
    return weight, scale, bias


def tied_linear(form: NumberFormat, g: GraphBuilder, name: str, x: str, table: str, scale: str | None, bias: str, config) -> str:
    if isinstance(form, Float32):
        t = g.op("Transpose", [table], f"{name}.transposed", perm=[1, 0])
        return g.op("Add", [g.op("MatMul", [x, t], f"{name}.matmul"), bias], name)
    t = g.op("Transpose", [table], f"{name}.transposed", perm=[1, 0])
    s = g.op("Reshape", [scale, g.constant(f"{name}.flat", [-1], np.int64)], f"{name}.scale")
    if isinstance(form, DynamicInt8):
        return g.op("DynamicQuantizeMatMul", [x, t, s, "", bias], name, domain=MICROSOFT)
    return static_matmul(form, g, name, x, t, s, bias)
