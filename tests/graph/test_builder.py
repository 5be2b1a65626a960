"""The streaming writer makes the file that onnx itself reads."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import BertEdgeError, CheckpointError
from bertedge.graph.builder import PAGE_ALIGNED_MIN_BYTES, GraphBuilder, _varint


def small_graph() -> GraphBuilder:
    g = GraphBuilder()
    x = g.input("x", np.float32, ("rows", 3))
    weight = g.tensor("weight", np.float32, (3, 400), lambda: np.arange(1200, dtype=np.float32).reshape(3, 400))
    bias = g.constant("bias", np.ones(400, dtype=np.float32))
    g.output(g.op("Add", [g.op("MatMul", [x, weight], "product"), bias], "sum"), "y", np.float32, ("rows", 400))
    return g


@pytest.mark.parametrize("external", [False, True])
def test_written_file_is_valid_and_runs(tmp_path: Path, external: bool) -> None:
    path = tmp_path / "model.onnx"
    small_graph().write(path, external=tmp_path / "weights" if external else None)
    onnx.checker.check_model(str(path), full_check=True)
    assert (tmp_path / "weights").exists() == external
    x = np.array([[1, 2, 3]], dtype=np.float32)
    (y,) = ort.InferenceSession(str(path)).run(None, {"x": x})
    assert np.allclose(y, x @ np.arange(1200).reshape(3, 400) + 1)


def test_two_graphs_share_one_file_of_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    small_graph().write(tmp_path / "one.onnx", external=weights)
    written = weights.stat()
    small_graph().write(tmp_path / "two.onnx", external=weights, again=True)
    assert weights.stat() == written
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_tensors_in_a_file_of_their_own_are_aligned(tmp_path: Path) -> None:
    g, sizes = GraphBuilder(), (300, 1024, 1500, PAGE_ALIGNED_MIN_BYTES, 1024)
    for index, size in enumerate(sizes):
        g.constant(f"t{index}", np.full(size, index + 1, dtype=np.int8))
    places = g.write(tmp_path / "model.onnx", external=tmp_path / "weights")
    assert [places[f"t{index}"].file for index in range(5)] == ["model.onnx", *["weights"] * 4]
    assert [places[f"t{index}"].offset for index in range(1, 5)] == [0, 1024, 4096, 4096 + PAGE_ALIGNED_MIN_BYTES]
    for index, size in enumerate(sizes):
        place = places[f"t{index}"]
        stored = (tmp_path / place.file).read_bytes()[place.offset :][:size]
        assert stored == bytes([index + 1]) * size
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


def test_file_is_what_onnx_would_write(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    small_graph().write(path)
    model = onnx.load(path)
    assert onnx.load_from_string(model.SerializeToString()) == model
    assert len(model.SerializeToString()) == path.stat().st_size


def test_wrong_shape_is_refused(tmp_path: Path) -> None:
    g = small_graph()
    g.tensor("late", np.float32, (2, 2), lambda: np.zeros(3, dtype=np.float32))
    with pytest.raises(BertEdgeError, match="late"):
        g.write(tmp_path / "model.onnx")


def test_writing_needs_the_memory_of_one_tensor(tmp_path: Path) -> None:
    g = GraphBuilder()
    for index in range(40):
        g.tensor(f"t{index}", np.float32, (1 << 18,), lambda: np.ones(1 << 18, dtype=np.float32))
    tracemalloc.start()
    g.write(tmp_path / "model.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "model.onnx").stat().st_size > 40 << 20
    assert peak < 4 << 20


@given(st.integers(min_value=0, max_value=2**40))
def test_varint_round_trip(value: int) -> None:
    decoded = 0
    for place, byte in enumerate(_varint(value)):
        decoded |= (byte & 0x7F) << 7 * place
    assert decoded == value


def test_a_weight_that_float16_cannot_hold_is_named(tmp_path: Path) -> None:
    g = GraphBuilder()
    g.tensor("mlm.transform.weight", np.float16, (2,), lambda: np.array([1.0, 1e6], dtype=np.float32))
    with pytest.raises(CheckpointError, match=r"mlm\.transform\.weight: a weight is larger"):
        g.write(tmp_path / "model.onnx")
