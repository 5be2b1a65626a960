"""Arrays of ``.npz`` files, checked by a schema before their data is unpacked.

The header of an array declares its size too. That is compared with the directory of the archive.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bertedge.archives import Archive, Failure, open_archive, read_exactly
from bertedge.array_spec import ArraySpec
from bertedge.errors import BertEdgeError, FileError
from bertedge.files import FRESH_COPY
from bertedge.printable import shortened


def read_arrays(
    path: Path,
    schema: Mapping[str, ArraySpec],
    sizes: Mapping[str, int | range],
    *,
    error: type[BertEdgeError] = FileError,
    hint: str = FRESH_COPY,
) -> dict[str, NDArray[Any]]:
    """Read the arrays of an ``.npz`` that a schema names. Other arrays are not read.

    Every array is checked by the zip directory and by its header before its data is unpacked.

    Args:
        schema: name of an array -> what it must be.
        sizes: symbol of the schema -> its value, or its allowed range.

    Raises:
        BertEdgeError: see :func:`open_archive`; or an array is missing, damaged, or differs from the schema.
    """
    arrays = {}
    fail = Failure(path, error, hint)
    with open_archive(path, error=error, hint=hint) as archive:
        known = _Symbols(sizes)
        for name, spec in schema.items():
            if f"{name}.npy" in archive:
                arrays[name] = _read_array(archive, name, spec, known, fail)
                _check_values(arrays[name], name, spec, known, fail)
            elif spec.required:
                raise fail(f"has no array {name}")
    return arrays


@dataclass(kw_only=False)
class _Symbols:
    """The symbols of a schema. The first array that uses a symbol sets its number."""

    allowed: Mapping[str, int | range]
    bound: dict[str, int] = field(default_factory=dict)

    def value(self, symbol: str | int) -> int | range:
        """The number of a symbol, or its allowed range."""
        return symbol if isinstance(symbol, int) else self.bound.get(symbol, self.allowed[symbol])

    def fits(self, symbol: str | int, extent: int) -> bool:
        """Whether an extent is allowed for a symbol of a shape. If it is, it becomes the symbol's number."""
        allowed = self.value(symbol)
        fits = extent in allowed if isinstance(allowed, range) else extent == allowed
        if fits and isinstance(symbol, str):
            self.bound[symbol] = extent
        return fits

    def expected(self, spec: ArraySpec) -> str:
        """The expected shape in words."""
        return f"({', '.join(map(self._word, spec.shape))})"

    def _word(self, symbol: str | int) -> str:
        allowed = self.value(symbol)
        return f"{allowed.start} to {allowed.stop - 1}" if isinstance(allowed, range) else str(allowed)


def _read_array(archive: Archive, name: str, spec: ArraySpec, known: _Symbols, fail: Failure) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        shape, fortran_order, dtype = _read_header(member)
        if dtype != np.dtype(spec.dtype):
            raise fail(f"{name} is {shortened(str(dtype))}, expected {spec.dtype}")
        if len(shape) != len(spec.shape) or not all(map(known.fits, spec.shape, shape)):
            raise fail(f"{name} has shape {shortened(str(shape))}, expected {known.expected(spec)}")
        count = math.prod(shape)
        if archive.sizes[f"{name}.npy"] != member.tell() + count * dtype.itemsize:
            raise fail(f"{name} ends before its data does, or after")
        data = np.frombuffer(bytearray(read_exactly(member, count * dtype.itemsize)), dtype=dtype)
        return data.reshape(shape, order="F" if fortran_order else "C")


def _check_values(array: NDArray[Any], name: str, spec: ArraySpec, known: _Symbols, fail: Failure) -> None:
    if spec.below is None or not array.size:
        return
    limit = known.value(spec.below)
    limit = limit.stop if isinstance(limit, range) else limit
    low, high = int(array.min()), int(array.max())
    if low < spec.least or high >= limit:
        bad = low if low < spec.least else high
        raise fail(f"{name} has a {bad}, expected {spec.least} to {limit - 1}")


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The header's shape, Fortran order (true or false), and type."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(member)
    if version not in readers:
        raise ValueError(f"version {version} of the array format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers written by Python 2
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = readers[version](member)
    if any(isinstance(extent, bool) or extent < 0 for extent in header[0]):
        raise ValueError(f"shape {header[0]}")
    return header
