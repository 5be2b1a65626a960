"""onnxruntime's int8 matmul on this very CPU: the sums that the table of targets relies on are exact."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from bertedge.target import this_target
from bertedge.weight_range import WeightRange

HERE = this_target()
RNG = np.random.default_rng(0)


def matmul(weight: np.ndarray, zero_point: int) -> ort.InferenceSession:
    """``MatMulIntegerToFloat`` of uint8 (rows, K) and constant int8 (K, N), with scales of one."""
    constants = {"weight": weight, "one": np.float32(1), "zero_point": np.uint8(zero_point)}
    node = helper.make_node(
        "MatMulIntegerToFloat", ["x", "weight", "one", "one", "zero_point"], ["y"], domain="com.microsoft"
    )
    graph = helper.make_graph(
        [node],
        "matmul",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", len(weight)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", weight.shape[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def extreme_weights(shape: tuple[int, int], weight_range: WeightRange) -> np.ndarray:
    """Weights at the ends of the allowed range; each odd row is limited by the row before it."""
    low, high = -weight_range.largest, weight_range.largest
    weight = RNG.choice(np.array([low, -1, 0, 1, high], dtype=np.int8), shape)
    for row in range(1, shape[0], 2):
        weight[row] = np.clip(weight[row], *weight_range.partner_limits(weight[row - 1]))
    return weight


@pytest.mark.parametrize("rows", [1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 128, 200])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (100, 30), (257, 129), (256, 1024), (768, 768), (3072, 768)])
def test_sums_are_exact_at_the_ends_of_the_range(rows: int, inputs: int, outputs: int) -> None:
    weight = extreme_weights((inputs, outputs), HERE.weight_range)
    for zero_point in (0, 117, 255):
        x = RNG.choice(np.array([0, 1, 254, 255], dtype=np.uint8), (rows, inputs))
        # float64 holds every sum; the operator rounds it to float32
        exact = (x.astype(np.float64) - zero_point) @ weight.astype(np.float64)
        (found,) = matmul(weight, zero_point).run(None, {"x": x})
        assert np.array_equal(found, exact.astype(np.float32)), HERE.kernel
