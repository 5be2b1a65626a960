"""Matrices in blocks: what is packed is what onnxruntime's operators read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.graph.builder import GraphBuilder
from bertedge.graph.formats import BlockRows, BlockWeights
from bertedge.graph.linear import OwnWeights, linear
from bertedge.graph.weight_blocks import block_matrix, block_scales, look_up_blocks, quantize_blocks
from bertedge.recipe import BITS, BLOCK_SIZES

RNG = np.random.default_rng(0)
FORMS = st.builds(BlockWeights, bits=st.sampled_from(BITS), block_size=st.sampled_from(BLOCK_SIZES))


def matrix_of(rows: int, columns: int) -> np.ndarray:
    return RNG.normal(scale=0.05, size=(rows, columns)).astype(np.float32)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("columns", "block_size"), [(64, 32), (64, 256), (35, 16), (80, 32), (384, 128)])
def test_a_layer_multiplies_by_its_blocks(bits: int, columns: int, block_size: int, tmp_path: Path) -> None:
    form, matrix = BlockWeights(bits=bits, block_size=block_size), matrix_of(9, columns)
    bias, x = RNG.normal(size=9).astype(np.float32), RNG.normal(size=(2, 3, columns)).astype(np.float32)
    g = GraphBuilder()
    weights = OwnWeights(shape=matrix.shape, load=lambda: matrix, load_bias=lambda: bias)
    y = linear(form, g, "layer", g.input("x", np.float32, ("batch", "rows", columns)), weights)
    g.output(y, "y", np.float32, ("batch", "rows", 9))
    g.write(tmp_path / "model.onnx")
    got = ort.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"x": x})[0]
    rounded = x @ quantize_blocks(matrix, form).floats(list(range(9))).T + bias
    # what is left is the rounding of the activations
    assert np.abs(got - rounded).max() < 0.03 * np.abs(rounded - bias).max()
    assert np.abs(rounded - (x @ matrix.T + bias)).max() < (0.3 if bits == 4 else 0.02) * np.abs(rounded - bias).max()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("columns", [64, 35])
def test_rows_are_looked_up_exactly_as_they_were_rounded(bits: int, columns: int, tmp_path: Path) -> None:
    form, matrix = BlockWeights(bits=bits, block_size=32), matrix_of(7, columns)
    rounded = cache(lambda: quantize_blocks(matrix, form))
    g = GraphBuilder()
    table = block_matrix(g, "table", form, matrix.shape, rounded)
    found = look_up_blocks(g, "found", table, g.input("ids", np.int64, ("batch", "rows")))
    g.output(found, "y", np.float32, ("batch", "rows", columns))
    g.write(tmp_path / "model.onnx")
    ids = np.array([[0, 6], [3, 3]])
    got = ort.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"ids": ids})[0]
    assert np.array_equal(got, rounded().floats(list(range(7)))[ids])


@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=st.floats(-1e5, 1e5, width=32)),
    FORMS,
)
def test_any_matrix(matrix: np.ndarray, form: BlockWeights) -> None:
    blocks = quantize_blocks(matrix, form)
    assert blocks.values.min() >= form.lowest
    assert blocks.values.max() <= form.highest
    assert np.array_equal(blocks.scale, blocks.scale.astype(np.float16))
    assert (blocks.scale != 0).all()
    floats = blocks.floats(list(range(len(matrix))))
    assert np.isfinite(floats).all()
    # a block of zeros stays one, and no weight moves farther than the largest of its row
    reach = np.abs(matrix).max(axis=1, keepdims=True)
    assert (np.abs(floats - matrix) <= 0.35 * reach + 1e-3).all()
    rows, columns = matrix.shape
    assert blocks.packed().shape == (rows, -(-columns // form.block_size) * form.block_bytes)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weight_takes_the_step_without_an_opposite(sign: int) -> None:
    matrix = np.zeros((1, 16), dtype=np.float32)
    matrix[0, :9] = sign * np.arange(9)
    blocks = quantize_blocks(matrix, BlockWeights(bits=4, block_size=16))
    assert np.array_equal(blocks.floats([0]), matrix)
    assert blocks.values.min() == -8


def test_searched_scales_lose_less_than_the_widest() -> None:
    form, matrix = BlockWeights(bits=4, block_size=64), matrix_of(50, 128)
    blocks = matrix.reshape(50, 2, 64)
    farthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], axis=-1)[..., 0]

    def loss(scale: np.ndarray) -> float:
        rounded = np.clip(np.rint(blocks / scale[..., None]), -8, 7) * scale[..., None]
        return float(np.square(rounded - blocks).sum())

    assert loss(block_scales(matrix, form)) < 0.95 * loss(farthest / -8)


def test_a_weight_beyond_all_measure_is_cut_off_and_finite() -> None:
    matrix = matrix_of(2, 32)
    matrix[0, 0] = 3e38
    floats = quantize_blocks(matrix, BlockWeights(bits=4, block_size=16)).floats([0, 1])
    assert 4e5 < floats[0, 0] < 6e5
    assert np.abs(floats[1] - matrix[1]).max() < 0.05


@pytest.mark.parametrize("fields", [{"bits": 5, "block_size": 32}, {"bits": 4, "block_size": 48}])
def test_a_format_that_no_kernel_has_cannot_be_written(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="blocks"):
        BlockWeights(**fields)
    with pytest.raises(ValueError, match="exact rows"):
        BlockRows(bits=4, block_size=32, exact=tuple(range(256)))
