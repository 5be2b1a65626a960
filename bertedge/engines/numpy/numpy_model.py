"""A model whose int8 matmuls run in numpy, and everything else in onnxruntime: correct on every CPU.

The graph is split at its int8 matmuls, and each part between them runs as a separate model. So golden vectors can be
recorded for a target whose sums would overflow on this machine. And :mod:`bertedge.emulate.simulate` shows what happens
on a CPU whose sums overflow: the next part gets the saturated sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bertedge.encoders import EncoderConfig
from bertedge.engines.numpy.int8_matmul import ExactMatrix
from bertedge.engines.numpy.onnx_file import load_onnx
from bertedge.engines.onnxruntime.grouping import GroupingExecutor
from bertedge.engines.onnxruntime.session import open_session
from bertedge.engines.onnxruntime.sessions import Run
from bertedge.errors import UsageError
from bertedge.heads.parts import Parts

MICROSOFT = "com.microsoft"
INT8_MATMUL = "MatMulIntegerToFloat"
#: Other operators that multiply int8 matrices; a model that has one is refused.
OTHER_INT8 = frozenset({"MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "QGemm"})

Values = dict[str, NDArray[Any]]


class NumpyModel:
    """A model file, run part by part; see :class:`bertedge.engines.onnxruntime.grouping.Model`.

    Args:
        replaced: tensor's name -> value that is used instead of the file's.
    """

    def __init__(self, path: Path, *, replaced: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        self._model = load_onnx(path)
        graph = self._model.graph
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._initializers |= {name: numpy_helper.from_array(array, name) for name, array in (replaced or {}).items()}
        self._outputs = [output.name for output in graph.output]
        self.input_names = frozenset(value.name for value in graph.input)
        self._steps = list(_steps([simple for node in graph.node for simple in _without_int8_attention(node)]))
        self._parts: dict[int, ort.InferenceSession] = {}
        self._matrices: dict[str, ExactMatrix] = {}

    #: One call at a time, because numpy uses all cores for it.
    callers = 1

    def run_alone(self) -> Run:
        """See :meth:`bertedge.engines.onnxruntime.sessions.Sessions.run_alone`."""
        return self.run

    def run(self, feed: Mapping[str, NDArray[np.int64]], work: int) -> dict[str, NDArray[np.float32]]:
        """All outputs; see :meth:`bertedge.engines.onnxruntime.sessions.Sessions.run`."""
        values: Values = {
            name: numpy_helper.to_array(self._initializers[name])
            for name in sorted(self.input_names & self._initializers.keys())
        }
        values |= feed
        for index, step in enumerate(self._steps):
            if isinstance(step, onnx.NodeProto):
                values[step.output[0]] = self._multiply(step, values)
            else:
                values |= self._run_part(index, step, values)
        return {name: values[name] for name in self._outputs}

    def _multiply(self, node: onnx.NodeProto, values: Values) -> NDArray[np.float32]:
        """``MatMulIntegerToFloat``: the int8 sums times both scales, plus the bias."""
        names = [*node.input, "", ""]  # the last inputs are optional
        x, weight, x_scale, scale, zero = (self._value(name, values) for name in names[:5])
        sums = self._sums(node.output[0], weight, x.reshape(-1, x.shape[-1]), int(zero))
        result = sums.astype(np.float32) * (x_scale * scale)
        if names[6]:
            result += self._value(names[6], values)
        return result.reshape(*x.shape[:-1], weight.shape[1])

    def _sums(self, layer: str, weight: NDArray[np.int8], x: NDArray[np.uint8], zero_point: int) -> NDArray[np.int32]:
        """(M, K) times (K, N)."""
        if layer not in self._matrices:
            self._matrices[layer] = ExactMatrix(weight)
        return self._matrices[layer].multiply(x, zero_point)

    def _value(self, name: str, values: Values) -> NDArray[Any]:
        return values[name] if name in values else numpy_helper.to_array(self._initializers[name])

    def _run_part(self, index: int, nodes: list[onnx.NodeProto], values: Values) -> Values:
        if index not in self._parts:
            self._parts[index] = self._part(index, nodes, values)
        session = self._parts[index]
        names = [output.name for output in session.get_outputs()]
        feed = {value.name: values[value.name] for value in session.get_inputs()}
        return dict(zip(names, session.run(names, feed), strict=True))

    def _part(self, index: int, nodes: list[onnx.NodeProto], values: Values) -> ort.InferenceSession:
        """A model of some nodes; its inputs have the types of the known values."""
        made = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in node.input if name} - made
        wanted = {name for step in self._steps[index + 1 :] for name in _inputs(step)} | set(self._outputs)
        graph = helper.make_graph(
            nodes,
            f"part.{index}",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(values[name].dtype), [None] * values[name].ndim
                )
                for name in sorted(read & values.keys())
            ],
            [helper.make_empty_tensor_value_info(name) for name in sorted(made & wanted)],
            [self._initializers[name] for name in sorted(read - values.keys())],
        )
        imports = self._model.opset_import
        model = helper.make_model(graph, opset_imports=imports, ir_version=self._model.ir_version)
        return open_session(model.SerializeToString(), threads=1)


def open_exact_file(
    path: Path,
    config: EncoderConfig,
    *,
    row_independent: bool,
    parts: Parts,
    all_positions: bool = False,
    replaced: Mapping[str, NDArray[np.float32]] | None = None,
) -> GroupingExecutor:
    """Load a model file that is not in a bundle; see :func:`bertedge.engines.onnxruntime.executor.open_file`."""
    model = NumpyModel(path, replaced=replaced)
    return GroupingExecutor(model, config, parts=parts, all_positions=all_positions, row_independent=row_independent)


def _without_int8_attention(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """``QAttention`` as its parts: matmul, split and attention; other nodes are unchanged."""
    if node.op_type in OTHER_INT8:
        raise UsageError(
            f"the model has the operator {node.op_type}, which is not computed in numpy",
            "use a bundle that this version of bertedge made",
        )
    if node.op_type != "QAttention":
        return [node]
    x, weight, bias, x_scale, scale, mask, zero_point = node.input[:7]
    name = node.output[0]
    joined, parts = f"{name.removesuffix('.context')}.joined", [f"{name}.{part}" for part in ("query", "key", "value")]
    heads = next(attribute.i for attribute in node.attribute if attribute.name == "num_heads")
    inputs = [x, weight, x_scale, scale, zero_point, "", bias]
    return [
        helper.make_node(INT8_MATMUL, inputs, [joined], domain=MICROSOFT),
        helper.make_node("Split", [joined], parts, axis=-1),
        helper.make_node("MultiHeadAttention", [*parts, "", mask], [name], domain=MICROSOFT, num_heads=heads),
    ]


def _steps(nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto | list[onnx.NodeProto]]:
    """The int8 matmuls, and lists of the nodes between them, in their order."""
    others: list[onnx.NodeProto] = []
    for node in nodes:
        if node.op_type != INT8_MATMUL:
            others.append(node)
            continue
        if others:
            yield others
        others = []
        yield node
    if others:
        yield others


def _inputs(step: onnx.NodeProto | list[onnx.NodeProto]) -> set[str]:
    nodes = [step] if isinstance(step, onnx.NodeProto) else step
    return {name for node in nodes for name in node.input}
