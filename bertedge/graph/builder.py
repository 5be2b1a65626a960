"""Nodes and tensors of an ONNX graph, and a writer that needs the memory of one tensor.

``onnx.save`` holds every weight twice, in the message and serialized. This writer knows the sizes of all tensors before
it starts, so it loads and writes one tensor after the other. The file is the same that protobuf would write, with the
initializers last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper

import bertedge
from bertedge.errors import BertEdgeError, CheckpointError

OPSET = 17  # LayerNormalization; nothing newer is needed
MICROSOFT = "com.microsoft"  # onnxruntime's own operators, which every build has
IR_VERSION = 8  # that of opset 17
EXTERNAL_MIN_BYTES = 1024  # shape inference reads small tensors, so they stay inside
#: Alignment in the external file, in bytes: for vector loads; for memory pages, and the tensors that begin a page.
ALIGNMENT, PAGE, PAGE_ALIGNED_MIN_BYTES = 64, 4096, 1 << 16
MAX_PROTOBUF_BYTES = 2**31 - 1

Loader = Callable[[], NDArray[Any]]
Dim = int | str


@dataclass(frozen=True)
class Place:
    """Where the data of a tensor is: the file's name, and the first byte."""

    file: str
    offset: int


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An initializer that is loaded when it is written."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    load: Loader = field(repr=False)

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass
class GraphBuilder:
    """Collects a graph. Methods that add something return its name, so that calls nest like formulas."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _values: set[str] = field(default_factory=set)

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[Dim]) -> str:
        """Declare an input; dimensions given as text are dynamic."""
        self.inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, source: str, name: str, dtype: DTypeLike, shape: Sequence[Dim]) -> str:
        """Declare ``source`` as an output under another name."""
        self.nodes.append(helper.make_node("Identity", [source], [name], name=f"output.{name}"))
        self.outputs.append(_value_info(name, dtype, shape))
        return name

    def expose(self, source: str) -> None:
        """Make an inner value an output as well; onnxruntime infers its shape and type."""
        self.outputs.append(helper.make_empty_tensor_value_info(source))

    def op(
        self, op_type: str, inputs: Sequence[str], name: str, *, domain: str = "", outputs: int = 1, **attributes: Any
    ) -> Any:
        """Add a node; returns its output, or the list of its ``outputs``. ``""`` stands for an absent input."""
        names = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=name, domain=domain, **attributes))
        self._values.update(names)
        return names[0] if outputs == 1 else names

    def once(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """The output of the node of that name, which is added if it does not exist."""
        if not self.has(name):
            self.op(op_type, inputs, name, **attributes)
        return name

    def has(self, name: str) -> bool:
        """Whether a node has an output of that name."""
        return name in self._values

    def tensor(self, name: str, dtype: DTypeLike, shape: Sequence[int], load: Loader) -> str:
        """An initializer whose data is loaded when the file is written; a name that exists is not added again."""
        self.tensors.setdefault(name, Tensor(name=name, dtype=np.dtype(dtype), shape=tuple(shape), load=load))
        return name

    def constant(self, name: str, value: Any, dtype: DTypeLike | None = None) -> str:
        """An initializer with a given value."""
        array = np.asarray(value, dtype=dtype)
        return self.tensor(name, array.dtype, array.shape, lambda: array)

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size_bytes for tensor in self.tensors.values())

    def write(self, path: Path, *, external: Path | None = None, again: bool = False) -> dict[str, Place]:
        """Write the model.

        Args:
            external: put the data of larger tensors into this file next to ``path``, which onnxruntime maps.
            again: ``external`` was written before, for a graph with the same tensors.

        Returns:
            Tensor's name -> where its data is.

        Raises:
            BertEdgeError: the file would be larger than protobuf allows.
        """
        with ExitStack() as stack:
            file = stack.enter_context(open(path, "wb"))
            data = stack.enter_context(open(external, "wb")) if external and not again else None
            return self._write(file, external.name if external else None, data)

    def _write(self, file: BinaryIO, external: str | None, data: BinaryIO | None) -> dict[str, Place]:
        """Write the graph to ``file``, and the tensors outside of it to ``data`` if that is given."""
        outside = self._places_outside(external) if external else {}
        skeleton = helper.make_graph(self.nodes, "bert", self.inputs, self.outputs).SerializeToString()
        headers = [_tensor_header(tensor, outside.get(tensor.name)) for tensor in self.tensors.values()]
        sizes = [
            len(header) + (0 if tensor.name in outside else tensor.size_bytes)
            for header, tensor in zip(headers, self.tensors.values(), strict=True)
        ]
        graph_size = len(skeleton) + sum(map(_field_size, sizes))
        if graph_size > MAX_PROTOBUF_BYTES:
            raise BertEdgeError(
                f"the model needs {graph_size} bytes, an ONNX file has at most {MAX_PROTOBUF_BYTES}",
                "quantize it, or use fewer layers",
            )
        file.write(_model_header() + _field_tag(onnx.ModelProto, "graph") + _varint(graph_size) + skeleton)
        places = dict(outside)
        for tensor, header, size in zip(self.tensors.values(), headers, sizes, strict=True):
            file.write(_field_tag(onnx.GraphProto, "initializer") + _varint(size) + header)
            if tensor.name not in outside:
                places[tensor.name] = Place(Path(file.name).name, file.tell())
                _values(tensor).tofile(file)
            elif data is not None:
                data.write(bytes(outside[tensor.name].offset - data.tell()))  # padding up to the aligned offset
                _values(tensor).tofile(data)
        return places

    def _places_outside(self, external: str) -> dict[str, Place]:
        """The larger tensors, which are stored in the external file -> their places."""
        places, end = {}, 0
        for tensor in self.tensors.values():
            if tensor.size_bytes >= EXTERNAL_MIN_BYTES:
                alignment = PAGE if tensor.size_bytes >= PAGE_ALIGNED_MIN_BYTES else ALIGNMENT
                offset = -(-end // alignment) * alignment
                places[tensor.name], end = Place(external, offset), offset + tensor.size_bytes
        return places


def _values(tensor: Tensor) -> NDArray[Any]:
    """The data of a tensor as it is stored.

    Raises:
        CheckpointError: a weight is too large for float16.
    """
    with np.errstate(over="ignore"):  # checked below
        array = np.asarray(tensor.load(), dtype=tensor.dtype, order="C")
    if tensor.dtype == np.float16 and not np.isfinite(array).all():
        raise CheckpointError(
            f"{tensor.name}: a weight is larger than float16 can hold (65504)",
            "leave its layer in float32: --exclude",
        )
    if array.shape != tensor.shape:
        raise BertEdgeError(f"{tensor.name}: shape {array.shape}, expected {tensor.shape}", "report this as a bug")
    return array


def _model_header() -> bytes:
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="bertedge", producer_version=bertedge.__version__)
    model.opset_import.extend([helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)])
    return model.SerializeToString()


def _tensor_header(tensor: Tensor, external: Place | None) -> bytes:
    """A serialized TensorProto up to its raw data."""
    proto = TensorProto(name=tensor.name, dims=tensor.shape, data_type=helper.np_dtype_to_tensor_dtype(tensor.dtype))
    if external is None:
        return proto.SerializeToString() + _field_tag(TensorProto, "raw_data") + _varint(tensor.size_bytes)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (("location", external.file), ("offset", external.offset), ("length", tensor.size_bytes)):
        proto.external_data.add(key=key, value=str(value))
    return proto.SerializeToString()


def _value_info(name: str, dtype: DTypeLike, shape: Sequence[Dim]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))


def _field_tag(message: Any, name: str) -> bytes:
    """The protobuf key of a length-delimited field (wire type 2)."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2)


def _field_size(size: int) -> int:
    """Bytes that an initializer of ``size`` bytes takes inside the graph."""
    return len(_field_tag(onnx.GraphProto, "initializer")) + len(_varint(size)) + size


def _varint(value: int) -> bytes:
    """Protobuf's variable-length integer: seven bits a byte, least significant first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
