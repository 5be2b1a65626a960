"""Matrices in blocks: weights of a few bits, with one scale for each block of a row.

Facts about onnxruntime's two block-wise operators, read in its sources and tried with 1.21 to 1.32 and on emulated
CPUs:

- ``MatMulNBits`` multiplies by rows of blocks; a row that ends inside a block is padded. Its kernels take blocks of 16,
  32, 64, 128 and 256. With ``accuracy_level=4`` it rounds the input to int8, each row separately. x86 with AVX2 or
  better rounds in the same blocks; all these CPUs agree to 1e-6 and nothing saturates. ARM with dot products rounds in
  blocks for 8 bits and whole rows for 4 bits (KleidiAI). Other CPUs multiply in float, which is more exact and slower:
  ARM without dot products has a kernel for 4 bits, all others unpack the matrix in every call.
- A single row may use another kernel than several rows do. In whole models, results then differ by up to 1e-3 of a
  probability.
- It packs the weights when the model is loaded. Without packing (``session.disable_prepacking``) it computes in float.
- ``GatherBlockQuantized`` looks up rows in the same bytes, padding included.
- Both take 8 bits since 1.23, and 4 bits since 1.22, where the second does not have the attribute ``bits`` yet.
- A zero point for each block would lower the KL by 15 %, but KleidiAI's fast kernels on ARM do not take it. So the grid
  is symmetric with a signed scale: the largest weight of a block gets the lowest level, which has no positive
  counterpart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.formats import BlockWeights

#: Accuracy level of ``MatMulNBits`` that allows int8 activations.
INT8_ACTIVATIONS = 4
#: Weights that are rounded together, so that their copies fit into the CPU's cache.
AT_ONCE = 1 << 16
#: The smallest and the largest scale: those of a float16 with full precision.
SMALLEST_SCALE, LARGEST_SCALE = float(np.finfo(np.float16).tiny), float(np.finfo(np.float16).max)
#: Bits -> the scales that are tried, as shares of the scale that reaches the block's largest weight.
SHARES = {4: tuple(np.linspace(1.0, 0.7, 11)), 8: (1.0,)}


@dataclass(frozen=True, kw_only=True)
class QuantizedBlocks:
    """A matrix (rows, columns) in blocks.

    Attributes:
        values: (rows, columns), from the format's lowest level to its highest.
        scale: (rows, blocks); values that float16 can hold.
    """

    form: BlockWeights
    values: NDArray[np.int8]
    scale: NDArray[np.float32]

    def floats(self, rows: list[int]) -> NDArray[np.float32]:
        """Some rows as float32."""
        values = self.values[rows]
        return values * np.repeat(self.scale[rows], self.form.block_size, axis=1)[:, : values.shape[1]]

    def packed(self) -> NDArray[np.uint8]:
        """(rows, bytes): levels counted from the lowest, the first of two in a byte's lower half, padded."""
        padding = self.scale.shape[1] * self.form.block_size - self.values.shape[1]
        levels = (np.pad(self.values, ((0, 0), (0, padding))).astype(np.int16) - self.form.lowest).astype(np.uint8)
        return levels if self.form.bits == 8 else np.bitwise_or(levels[:, ::2], levels[:, 1::2] << 4)


def block_scales(matrix: NDArray[np.float32], form: BlockWeights) -> NDArray[np.float32]:
    """The scale of each block that has the least squared error of those that are tried, (rows, blocks).

    The largest scale gives the lowest level to the weight that is farthest from zero: there is one more level below
    zero than above.
    """
    rows, columns = matrix.shape
    blocks = -(-columns // form.block_size)
    scale = np.empty((rows, blocks), dtype=np.float32)
    step = max(1, AT_ONCE // columns)
    for start in range(0, rows, step):
        part = matrix[start : start + step]
        padded = np.pad(part, ((0, 0), (0, blocks * form.block_size - columns)))
        scale[start : start + step] = _least_squares(padded.reshape(len(part), blocks, form.block_size), form)
    return scale


def _least_squares(blocks: NDArray[np.float32], form: BlockWeights) -> NDArray[np.float32]:
    """The scales of blocks (rows, blocks, weights)."""
    lowest, highest, shares = form.lowest, form.highest, SHARES[form.bits]
    low, high = blocks.min(axis=-1), blocks.max(axis=-1)
    farthest = np.where(high > -low, high, low)
    best, smallest = as_float16(farthest / lowest), np.full(farthest.shape, np.inf, dtype=np.float32)
    for share in shares:
        scale = as_float16(farthest / lowest * share)
        rounded = np.clip(np.rint(blocks / scale[..., None]), lowest, highest)
        rounded *= scale[..., None]
        with np.errstate(over="ignore"):  # the square of an extremely large weight is infinite
            error = np.square(blocks - rounded).sum(axis=-1)
        best = np.where(error < smallest, scale, best)
        smallest = np.minimum(error, smallest)
    return best


def as_float16(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales rounded to float16, without zeros. The largest scale clips weights above half a million."""
    size = np.clip(np.abs(scale), SMALLEST_SCALE, LARGEST_SCALE).astype(np.float16)
    return np.copysign(size, scale).astype(np.float32)


def quantize_blocks(matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
    """Round every weight to the nearest level of its block."""
    scale = block_scales(matrix, form)
    values = np.empty(matrix.shape, dtype=np.int8)
    step = max(1, AT_ONCE // matrix.shape[1])
    for start in range(0, len(matrix), step):
        rows = slice(start, start + step)
        steps = matrix[rows] / np.repeat(scale[rows], form.block_size, axis=1)[:, : matrix.shape[1]]
        values[rows] = np.clip(np.rint(steps), form.lowest, form.highest)
    return QuantizedBlocks(form=form, values=values, scale=scale)


@dataclass(frozen=True, kw_only=True)
class BlockMatrix:
    """A matrix in the graph.

    Attributes:
        shape: (rows, columns) of the matrix in float.
        values: uint8 (rows, bytes).
        scale: float32 (rows, blocks), stored as float16.
    """

    form: BlockWeights
    shape: tuple[int, int]
    values: str
    scale: str


def block_matrix(
    g: GraphBuilder, name: str, form: BlockWeights, shape: tuple[int, int], rounded: Callable[[], QuantizedBlocks]
) -> BlockMatrix:
    """Add a matrix, unless there is one of that name already."""
    rows, blocks = shape[0], -(-shape[1] // form.block_size)
    values = g.tensor(name, np.uint8, (rows, blocks * form.block_bytes), lambda: rounded().packed())
    stored = g.tensor(f"{name}_scale", np.float16, (rows, blocks), lambda: rounded().scale)
    scale = g.once("Cast", [stored], f"{stored}.float", to=TensorProto.FLOAT)
    return BlockMatrix(form=form, shape=shape, values=values, scale=scale)


def multiply(g: GraphBuilder, name: str, x: str, matrix: BlockMatrix, bias: str) -> str:
    """Write ``x @ matrix.T + bias``. onnxruntime folds the reshaped constants when it loads the model."""
    form, (rows, columns) = matrix.form, matrix.shape
    shape = g.constant(f"{name}.blocks", [rows, -1, form.block_bytes], np.int64)
    flat = g.constant(f"{name}.flat", [-1], np.int64)
    values = g.op("Reshape", [matrix.values, shape], f"{name}.weight.blocks")
    scale = g.op("Reshape", [matrix.scale, flat], f"{name}.scale.blocks")
    return g.op(
        "MatMulNBits",
        [x, values, scale, "", "", bias],
        name,
        domain=MICROSOFT,
        K=columns,
        N=rows,
        bits=form.bits,
        block_size=form.block_size,
        accuracy_level=INT8_ACTIVATIONS,
    )


def look_up_blocks(g: GraphBuilder, name: str, matrix: BlockMatrix, ids: str) -> str:
    """The rows of ids as float32."""
    form, columns = matrix.form, matrix.shape[1]
    attributes: dict[str, Any] = {"block_size": form.block_size, "gather_axis": 0, "quantize_axis": 1}
    if form.bits != 4:  # onnxruntime 1.22 does not know the attribute, and 4 is its default
        attributes["bits"] = form.bits
    inputs = [matrix.values, ids, matrix.scale]
    if columns % form.block_size == 0:
        return g.op("GatherBlockQuantized", inputs, name, domain=MICROSOFT, **attributes)
    padded = g.op("GatherBlockQuantized", inputs, f"{name}.padded", domain=MICROSOFT, **attributes)
    zero, end, axis = (
        g.constant(f"{name}.{n}", [v], np.int64) for n, v in (("zero", 0), ("end", columns), ("axis", -1))
    )
    return g.op("Slice", [padded, zero, end, axis], name)
