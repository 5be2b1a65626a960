"""Stand-ins for torch's objects while a pickle is read: they record where each tensor is.

Functions that a pickle names are never imported. Each function in ``REBUILD`` has a stand-in here; others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: torch's typed storages -> the type of their elements.
STORAGES = {
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
    "torch ComplexFloatStorage": "complex64",
    "torch ComplexDoubleStorage": "complex128",
    "torch QInt8Storage": "quantized",
    "torch QUInt8Storage": "quantized",
    "torch QInt32Storage": "quantized",
    "torch QUInt4x2Storage": "quantized",
    "torch QUInt2x4Storage": "quantized",
    "torch.storage UntypedStorage": "bytes",
    "torch UntypedStorage": "bytes",
}
#: Names that may be called to build a tensor, or kept as plain values.
TENSOR_CLASSES = {"torch Tensor", "torch.nn.parameter Parameter", "torch.nn.parameter Buffer"}
#: Types of elements, layouts and the like; they are kept as names.
TORCH_CONSTANT = re.compile(r"torch [a-z]\w{,30}")


class RefusedPickle(ValueError):
    """The pickle holds something other than a state dict of tensors, or is damaged."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """The place of a tensor in its archive.

    Attributes:
        kind: the type of its elements, such as ``float32``; or ``sparse``, ``quantized``, ``meta`` and the like.
        storage: the name of the record with its bytes; None if the kind has no such record.
        offset: elements before its first one.
        shape, strides: extents, and steps in elements, of each axis.
    """

    kind: str
    shape: tuple[int, ...] = ()
    storage: str | None = None
    offset: int = 0
    strides: tuple[int, ...] = ()

    @property
    def span(self) -> int:
        """Elements from the first to the last one, both included."""
        if 0 in self.shape:
            return 0
        return 1 + sum((extent - 1) * stride for extent, stride in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; never imported."""

    path: str


@dataclass(frozen=True)
class Storage:
    """A record of the archive: the type of its elements, and its name."""

    kind: str
    record: str


def rebuilt(function: Any, arguments: Any) -> Any:
    """The result of a function that torch writes, made by its stand-in."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise TypeError("a call of a value that is not a function")
    if function.path not in REBUILD:
        raise RefusedPickle(f"it holds {dotted(function.path)}, not only tensors")
    return REBUILD[function.path](*arguments)


def dotted(path: str) -> str:
    """A name as Python writes it, shortened if it is unusually long."""
    return ascii(path[:100].replace(" ", ".", 1))[1:-1]


def _strided(storage: Storage, offset: int, shape: Any, strides: Any, *rest: Any) -> StoredTensor:
    """``_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])``."""
    kind = storage.kind
    if len(rest) > 2 and rest[2]:
        kind = "lazily conjugated or negated"  # the file stores the operation instead of its result
    return _placed(kind, storage, offset, shape, strides)


def _typed(storage: Storage, offset: int, shape: Any, strides: Any, *rest: Any) -> StoredTensor:
    """``_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])``."""
    return _placed(_element_type(rest[2]), storage, offset, shape, strides)


def _placed(kind: str, storage: Storage, offset: int, shape: Any, strides: Any) -> StoredTensor:
    shape, strides = _extents(shape), _extents(strides)
    if len(shape) != len(strides) or type(offset) is not int or offset < 0:
        raise ValueError("a tensor whose shape and strides do not fit")
    return StoredTensor(kind=kind, shape=shape, storage=storage.record, offset=offset, strides=strides)


def _extents(numbers: Any) -> tuple[int, ...]:
    found = tuple(numbers)
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in found) or len(found) > 64:
        raise ValueError("a tensor with an impossible shape")
    return found


def _element_type(name: Name) -> str:
    return name.path.removeprefix("torch ")


def _sparse(layout: Any, contents: tuple[Any, ...]) -> StoredTensor:
    sizes = [part for part in contents if isinstance(part, tuple)]
    return StoredTensor(kind="sparse", shape=_extents(sizes[0]) if sizes else ())


def _from_type(function: Any, kind: Name, arguments: Any, state: Any) -> Any:
    """A tensor with further attributes, which are not needed."""
    if kind.path not in TENSOR_CLASSES:
        raise RefusedPickle(f"it holds a tensor of the class {dotted(kind.path)}")
    return rebuilt(function, arguments)


#: Functions that torch writes -> their stand-ins.
REBUILD: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": lambda: {},
    "collections defaultdict": lambda *_: {},
    "torch Size": lambda numbers=(): tuple(numbers),
    "torch device": lambda *_: None,
    "torch.serialization _get_layout": lambda name: name,
    "torch._utils _rebuild_tensor": _strided,
    "torch._utils _rebuild_tensor_v2": _strided,
    "torch._utils _rebuild_tensor_v3": _typed,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils _rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor _rebuild_from_type_v2": _from_type,
    "torch._utils _rebuild_sparse_tensor": _sparse,
    "torch._utils _rebuild_sparse_csr_tensor": _sparse,
    "torch._utils _rebuild_nested_tensor": lambda *_: StoredTensor(kind="nested"),
    "torch._utils _rebuild_qtensor": lambda storage, offset, shape, *_: StoredTensor(
        kind="quantized", shape=_extents(shape)
    ),
    "torch._utils _rebuild_meta_tensor_no_storage": lambda kind, shape, *_: StoredTensor(
        kind="meta", shape=_extents(shape)
    ),
}
KNOWN = {*REBUILD, *STORAGES, *TENSOR_CLASSES, "builtins dict", "__builtin__ dict"}
