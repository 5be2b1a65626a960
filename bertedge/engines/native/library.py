"""The C interface of the native engine: a mirror of ``src/api.h`` in ctypes, and the library itself."""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from bertedge.errors import UnfitMachineError

#: The number of the interface; see ``BE_ABI``.
ABI = 1
LIBRARY = "libbertedge.dylib" if sys.platform == "darwin" else "libbertedge.so"
#: What the build wrote about itself: see ``build.py``.
RECORD = "build.json"
FOLDER = Path(__file__).parent
#: Wheels hold no sources.
BUILT_BY = "python -m bertedge.engines.native.build" if (FOLDER / "src").is_dir() else "install bertedge again"
BUILD_IT = f"with a C++17 compiler: {BUILT_BY}; or run it with --engine onnxruntime"

#: Names in ``plan.json`` -> numbers of the interface.
DTYPES = {"float32": 0, "float16": 1, "int8": 2, "uint8": 3}
ACTIVATIONS = {"identity": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4, "tanh": 5}
READS = {"every": 0, "masked": 1, "first": 2, "mean": 3, "pooler": 4}


class Tensor(Structure):
    """``be_tensor``."""

    _fields_ = (("data", c_void_p), ("bytes", c_uint64), ("dtype", c_int32), ("unused", c_int32))


class Matrix(Structure):
    """``be_matrix``."""

    _fields_ = (
        ("outputs", c_int32),
        ("by_output", c_int32),
        ("weight", Tensor),
        ("bias", Tensor),
        ("scale", Tensor),
        ("shifts", Tensor),
        ("reciprocals", Tensor),
        ("outlier_weight", Tensor),
    )


class Linear(Structure):
    """``be_linear``."""

    _fields_ = (
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("terms", c_int32),
        ("matrix_count", c_int32),
        ("matrices", POINTER(Matrix)),
        ("outliers", POINTER(c_int32)),
        ("outlier_count", c_int32),
        ("unused", c_int32),
    )


class Norm(Structure):
    """``be_norm``."""

    _fields_ = (("weight", Tensor), ("bias", Tensor))


class Table(Structure):
    """``be_table``."""

    _fields_ = (
        ("rows", c_int32),
        ("columns", c_int32),
        ("values", Tensor),
        ("scale", Tensor),
        ("reciprocals", Tensor),
        ("exact_index", Tensor),
        ("exact_rows", Tensor),
        ("exact_scale", Tensor),
        ("exact_count", c_int32),
        ("unused", c_int32),
    )


class Block(Structure):
    """``be_block``."""

    _fields_ = (
        ("qkv", Linear),
        ("attention_output", Linear),
        ("intermediate", Linear),
        ("output", Linear),
        ("attention_norm", Norm),
        ("feed_forward_norm", Norm),
        ("reach", c_int32),
        ("rope_theta", c_float),
    )


class Head(Structure):
    """``be_head``."""

    _fields_ = (("reads", c_int32), ("activation", c_int32), ("dense", Linear), ("norm", Norm), ("last", Linear))


class Model(Structure):
    """``be_model``."""

    _fields_ = (
        ("abi", c_int32),
        ("hidden", c_int32),
        ("embedding", c_int32),
        ("attention_heads", c_int32),
        ("intermediate", c_int32),
        ("max_length", c_int32),
        ("position_offset", c_int32),
        ("pre_norm", c_int32),
        ("gated", c_int32),
        ("activation", c_int32),
        ("epsilon", c_float),
        ("block_count", c_int32),
        ("blocks", POINTER(Block)),
        ("words", Table),
        ("positions", Table),
        ("token_types", Table),
        ("embeddings_norm", Norm),
        ("projection", Linear),
        ("final_norm", Norm),
        ("relative_bias", Tensor),
        ("pooler", Linear),
        ("head_count", c_int32),
        ("mapped", c_int32),
        ("heads", POINTER(Head)),
    )


class Texts(Structure):
    """``be_texts``. Arrays are given by their addresses, which is faster than pointers of ctypes."""

    _fields_ = (
        ("count", c_int32),
        ("masked_count", c_int32),
        ("starts", c_void_p),
        ("ids", c_void_p),
        ("types", c_void_p),
        ("masked", c_void_p),
    )


class Outputs(Structure):
    """``be_outputs``."""

    _fields_ = (("states", c_void_p), ("pooler", c_void_p), ("heads", c_void_p))


class Step(Structure):
    """``be_step``."""

    _fields_ = (("name", c_char_p), ("milliseconds", c_double))


#: Struct in ``api.h`` -> its mirror.
STRUCTS: dict[str, type[Structure]] = {
    f"be_{mirror.__name__.lower()}": mirror
    for mirror in (Tensor, Matrix, Linear, Norm, Table, Block, Head, Model, Texts, Outputs, Step)
}
#: Function -> type of its result, types of its arguments.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "be_kernels": (c_char_p, ()),
    "be_kernels_here": (c_char_p, ()),
    "be_why_not": (c_char_p, (c_char_p,)),
    "be_open": (c_int32, (POINTER(Model), c_int32, c_char_p, POINTER(c_void_p), c_char_p, c_int32)),
    "be_close": (None, (c_void_p,)),
    "be_kernel": (c_char_p, (c_void_p,)),
    "be_run": (c_int32, (c_void_p, POINTER(Texts), POINTER(Outputs), c_int32, c_char_p, c_int32)),
    "be_profile": (
        c_int32,
        (c_void_p, POINTER(Texts), POINTER(Outputs), POINTER(Step), c_int32, c_char_p, c_int32),
    ),
    "be_after_fork": (None, (c_void_p,)),
    "be_memory": (c_uint64, (c_void_p,)),
}


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once in a process.

    Raises:
        UnfitMachineError: it is not built, or cannot be loaded here.
    """
    path = FOLDER / LIBRARY
    if not path.is_file():
        raise UnfitMachineError(f"the native engine is not built: {_why_not_built()}", BUILD_IT)
    return opened(path)


def _why_not_built() -> str:
    """What the build recorded, if there was one."""
    try:
        reason = json.loads((FOLDER / RECORD).read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        reason = ""
    return str(reason) or f"there is no {LIBRARY} in the package"


def opened(path: Path) -> ctypes.CDLL:
    """Load a library file, and declare its functions.

    Raises:
        UnfitMachineError: it cannot be loaded here, or has another interface.
    """
    try:
        found = ctypes.CDLL(str(path))
        number = found.be_abi()
    except (OSError, AttributeError) as error:
        raise UnfitMachineError(f"the native engine cannot be loaded: {error}", BUILD_IT) from error
    if number != ABI:
        raise UnfitMachineError(
            f"the native engine has interface {number}, this bertedge has {ABI}: it was built from other sources",
            BUILD_IT,
        )
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def kernels() -> list[str]:
    """The kernels of the library, best first.

    Raises:
        UnfitMachineError: see :func:`library`.
    """
    names: bytes = library().be_kernels()
    return names.decode().split()


def kernels_here() -> list[str]:
    """The kernels that this CPU runs, best first.

    Raises:
        UnfitMachineError: see :func:`library`.
    """
    names: bytes = library().be_kernels_here()
    return names.decode().split()


def why_not(kernel: str) -> str:
    """Why this CPU does not run a kernel; empty if it does."""
    reason: bytes = library().be_why_not(kernel.encode())
    return reason.decode()
