"""The columns of a command's answers as Arrow columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from bertedge.errors import MissingExtraError


def arrow_type(kind: Any, shape: tuple[int, ...] = (0,)) -> Any:
    """The Arrow type of a type of :attr:`bertedge.heads.verb.RowAnswers.types`.

    Args:
        shape: of one array, where ``kind`` is ``np.ndarray``: (D,) becomes a list of fixed size D, (S, H) a list of any
            length of such lists.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = _pyarrow()
    if kind is np.ndarray:
        vector = pa.list_(pa.float32(), shape[-1])
        return vector if len(shape) == 1 else pa.list_(vector)
    if get_origin(kind) is list:
        return pa.list_(arrow_type(*get_args(kind)))
    if is_dataclass(kind):
        return pa.struct([pa.field(name, arrow_type(hint)) for name, hint in get_type_hints(kind).items()])
    return {float: pa.float64(), int: pa.int64(), str: pa.string()}[kind]


def arrow_array(values: Sequence[Any], kind: Any, shape: tuple[int, ...] = (0,)) -> Any:
    """A column of an answer as an Arrow array; None becomes null.

    Args:
        values: of this type, or None.
        shape: as in :func:`arrow_type`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = _pyarrow()
    if kind is np.ndarray and len(shape) == 1:
        return _fixed_size_lists(values, shape[0])
    if kind is np.ndarray:  # Arrow takes arrays of one dimension
        values = [None if value is None else [*value] for value in values]
    return pa.array(values, type=arrow_type(kind, shape))


def _fixed_size_lists(vectors: Sequence[Any], width: int) -> Any:
    """Vectors (D,) as one array, without a Python object for each number."""
    pa = _pyarrow()
    missing = [vector is None for vector in vectors]
    kept = [np.zeros(width, np.float32) if vector is None else vector for vector in vectors]
    numbers = pa.array(np.concatenate(kept) if kept else np.zeros(0, np.float32), type=pa.float32())
    return pa.FixedSizeListArray.from_arrays(numbers, width, mask=pa.array(missing, type=pa.bool_()))


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "data") from error
    return pyarrow
