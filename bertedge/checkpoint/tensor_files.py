"""Files with tensors at known offsets: one tensor is read at a time.

A mapped file would count every page that was touched as memory of this process; reading a tensor at its offset takes
only that tensor's memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders.foreign_names import IGNORED, ForeignNames
from bertedge.errors import CheckpointError, FileError
from bertedge.files import FRESH_COPY, refuse_placeholder

#: The types that weights may have -> numpy's. numpy has no bfloat16, so its bits are converted here.
FLOAT_TYPES = {"float32": "f4", "float16": "f2", "bfloat16": "u2", "float64": "f8"}
ITEM_BYTES = {kind: np.dtype(code).itemsize for kind, code in FLOAT_TYPES.items()}
LONGEST_NAME = 512
EXPECTED_TYPES = "expected " + ", ".join([*FLOAT_TYPES][:-1]) + f" or {[*FLOAT_TYPES][-1]}"
FLOAT_HINT = "take the checkpoint with plain float weights, as it was trained"


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a tensor in a file.

    Attributes:
        kind: the type of its elements, such as ``float32``; types that are not in ``FLOAT_TYPES`` cannot be loaded.
        start: offset of its first element, in bytes.
        count: elements from its first to its last one in the file.
        strides: steps of each axis, in elements; None for row-major.
    """

    kind: str
    shape: tuple[int, ...]
    start: int = 0
    count: int = 0
    strides: tuple[int, ...] | None = None
    byte_order: Literal["<", ">"] = "<"

    def parts(self, count: int) -> list[Place]:
        """The places of the equal parts that its rows consist of; itself if its rows cannot be divided so."""
        if count == 1 or not self.shape or self.shape[0] % count:
            return [self] * count
        rows, step = self.shape[0] // count, math.prod(self.shape[1:]) if self.strides is None else self.strides[0]
        bytes_apart = rows * step * ITEM_BYTES.get(self.kind, 0)
        elements = self.count - (count - 1) * rows * step
        return [
            replace(self, shape=(rows, *self.shape[1:]), start=self.start + index * bytes_apart, count=elements)
            for index in range(count)
        ]


class FileSource:
    """The tensors of one or several files, under canonical names.

    Args:
        read: (file) -> the tensors' names in the file, and their places.
        names: translates these names to canonical ones.

    Raises:
        FileError: a file is broken.
        CheckpointError: two tensors have the same canonical name and differ.
    """

    def __init__(
        self, paths: list[Path], read: Callable[[Path], Iterable[tuple[str, Place]]], names: ForeignNames
    ) -> None:
        self.files = paths
        self._names = names
        self._places: dict[str, tuple[str, Path, Place]] = {}
        for path in paths:
            refuse_placeholder(path)
            for written, place in read(path):
                canonical = self._canonical(written, path)
                for name, part in zip(canonical, place.parts(len(canonical)), strict=True):
                    self._add(name, written, path, part)
        self.shapes = {name: place.shape for name, (_, _, place) in self._places.items()}
        self.kinds = {name: place.kind for name, (_, _, place) in self._places.items()}

    def _canonical(self, written: str, path: Path) -> tuple[str, ...]:
        if not written.isprintable() or len(written) > LONGEST_NAME:
            raise FileError(f"{path}: {written[:60]!a} is not a tensor's name", FRESH_COPY)
        return self._names.parts(written)

    def _add(self, name: str, written: str, path: Path, place: Place) -> None:
        """Keep a tensor; of equal copies, the first."""
        found = (written, path, place)
        first = self._places.setdefault(name, found)
        other = first[0]
        if self._names.is_preferred(written):
            self._places[name] = found
        elif other != written and not (self._names.is_preferred(other) or IGNORED.search(name) or _equal(first, found)):
            raise CheckpointError(
                f"{path}: {other} and {written} are both {name}, and differ",
                "keep the one that the model was trained with",
            )

    def load(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32, row-major.

        Raises:
            FileError: its file cannot be read.
            CheckpointError: its type is not a float type.
        """
        written, path, place = self._places[name]
        return _load(written, path, place)


def _equal(one: tuple[str, Path, Place], other: tuple[str, Path, Place]) -> bool:
    same_form = (one[2].kind, one[2].shape) == (other[2].kind, other[2].shape)
    return same_form and np.array_equal(_load(*one), _load(*other), equal_nan=True)


def _load(written: str, path: Path, place: Place) -> NDArray[np.float32]:
    if place.kind not in FLOAT_TYPES:
        raise CheckpointError(f"{path}: {written} has type {place.kind}, {EXPECTED_TYPES}", FLOAT_HINT)
    dtype = np.dtype(place.byte_order + FLOAT_TYPES[place.kind])
    try:
        raw = np.fromfile(path, dtype=dtype, count=place.count, offset=place.start)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", FRESH_COPY) from error
    if raw.size != place.count:
        raise FileError(f"{path}: the data of {written} is cut off", FRESH_COPY)
    if place.kind == "bfloat16":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, which is refused later
        return _in_rows(raw, place).astype(np.float32, copy=False)


def _in_rows(raw: NDArray[Any], place: Place) -> NDArray[Any]:
    """The elements in the tensor's shape, row-major."""
    if place.strides is None:
        return raw.reshape(place.shape)
    if math.prod(place.shape) == 0:
        return np.zeros(place.shape, dtype=raw.dtype)
    steps = [stride * raw.itemsize for stride in place.strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(raw, place.shape, steps)).reshape(place.shape)
