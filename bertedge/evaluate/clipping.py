"""Clipping: values that a static int8 layer reads at run time outside the range that calibration chose.

Such a value is replaced by the end of the range. A few are harmless. But if most inputs are outside, the
answers are wrong although every operator is correct. So the share of such values is counted in the bundle's graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.engines.onnxruntime.feed import feed
from bertedge.engines.onnxruntime.session import inputs_of, open_session
from bertedge.predictor import Batch

#: Names in the graph: the second term of a rounded input, and the channels that a layer multiplies in float.
REST, OUTLIERS = ".rest", ".outlier.index"
#: Operators that multiply a rounded input.
MULTIPLIES = ("MatMulIntegerToFloat", "QAttention")


@dataclass(frozen=True, kw_only=True)
class LayerClipping:
    """One tensor that is rounded to uint8.

    Attributes:
        layer: the layers that read it, separated by commas.
        outside: share of the values that lie outside the range, 0 to 1.
        beyond: distance of the farthest value from the range, in widths of the range.
        values: how many values were observed.
    """

    layer: str
    outside: float
    beyond: float
    values: int


@dataclass
class _Counted:
    """Running counts of one tensor.

    Attributes:
        ignored: channels that are multiplied in float.
    """

    name: str
    layers: list[str]
    low: float
    high: float
    ignored: NDArray[np.int64] | None
    values: int = 0
    outside: int = 0
    beyond: float = 0.0

    def observe(self, seen: NDArray[np.float32]) -> None:
        """Count values of shape (..., channels)."""
        if self.ignored is not None:
            seen = np.delete(seen, self.ignored, axis=-1)
        self.values += seen.size
        self.outside += int(np.count_nonzero((seen < self.low) | (seen > self.high)))
        width = self.high - self.low
        farthest = max(float(seen.max(initial=0.0)) - self.high, self.low - float(seen.min(initial=0.0)), 0.0)
        self.beyond = max(self.beyond, farthest / width)

    def result(self) -> LayerClipping:
        share = self.outside / self.values if self.values else 0.0
        return LayerClipping(layer=", ".join(self.layers), outside=share, beyond=self.beyond, values=self.values)


def measure_clipping(bundle: Bundle, batches: Sequence[Batch], *, threads: int) -> tuple[LayerClipping, ...] | None:
    """Count the values that each layer clips on some texts, at all positions.

    Returns:
        One entry for each tensor with a range, in the order of the graph; None for a model in ORT format, whose graph
        cannot be changed.
    """
    if bundle.manifest.format != "onnx":
        return None
    import onnx  # part of [tools]; reports import this module and must not need it

    from bertedge.engines.numpy.onnx_file import load_onnx

    model = load_onnx(bundle.model_path)
    counted = _rounded_tensors(model, bundle.layer_names)
    if not counted:
        return ()
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(one.name) for one in counted)
    session = open_session(model.SerializeToString(), threads=threads)
    outputs, inputs = [one.name for one in counted], inputs_of(session)
    for batch in batches:
        for row in range(len(batch.input_ids)):
            values = session.run(outputs, feed(batch.row(row), inputs, everywhere=True))
            for one, seen in zip(counted, values, strict=True):
                one.observe(seen)
    return tuple(one.result() for one in counted)


def _rounded_tensors(model: Any, layers: Sequence[str]) -> list[_Counted]:
    """Every tensor that the graph rounds to uint8 with a fixed range."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[str]] = {}
    for node in (node for node in model.graph.node if node.op_type in MULTIPLIES):
        for name in node.input:
            readers.setdefault(name, []).append(node.output[0])
    found = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0].endswith(REST) or node.input[1] not in constants:
            continue
        scale, zero = (numpy_helper.to_array(constants[name]).item() for name in node.input[1:3])
        own = sorted({_layer_of(reader, layers) for reader in readers.get(node.output[0], ())})
        # up to half a step beyond the ends, the error is not larger than that of rounding
        low, high = (step * scale for step in (-zero - 0.5, 255 - zero + 0.5))
        kept_in_float = [constants[f"{layer}{OUTLIERS}"] for layer in own if f"{layer}{OUTLIERS}" in constants]
        ignored = np.concatenate([numpy_helper.to_array(index) for index in kept_in_float]) if kept_in_float else None
        found.append(_Counted(name=node.input[0], layers=own, low=low, high=high, ignored=ignored))
    return found


def _layer_of(name: str, layers: Sequence[str]) -> str:
    """The layer of a node: the longest layer name that the node's name starts with."""
    return max((layer for layer in layers if name.startswith(layer)), key=len, default=name)
