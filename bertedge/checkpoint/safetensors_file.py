"""Safetensors files: 8 bytes of header length, the header as JSON, the data."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertedge.checkpoint.tensor_files import ITEM_BYTES, Place
from bertedge.errors import FileError
from bertedge.files import FRESH_COPY

#: The format's names of types -> their usual names. Other types keep the format's name.
TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}


def read_safetensors(path: Path) -> Iterator[tuple[str, Place]]:
    """The tensors of a file, under the file's names.

    Raises:
        FileError: it is cut off, or is not a safetensors file.
    """
    for name, entry, offset in _header(path):
        start, stop = entry["data_offsets"]
        shape, kind = tuple(entry["shape"]), TYPES.get(entry["dtype"], entry["dtype"])
        count = math.prod(shape)
        if kind in ITEM_BYTES and count * ITEM_BYTES[kind] != stop - start:
            raise FileError(f"{path}: {name} has {stop - start} bytes, expected {count * ITEM_BYTES[kind]}", FRESH_COPY)
        yield name, Place(kind=kind, shape=shape, start=offset + start, count=count)


def _header(path: Path) -> list[tuple[str, dict[str, Any], int]]:
    """(name, entry, offset of the data block) of each tensor."""
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise FileError(f"{path}: is cut off or is not a safetensors file", FRESH_COPY)
            header = json.loads(file.read(length))
        entries = [(name, entry, 8 + length) for name, entry in header.items() if name != "__metadata__"]
        well_formed = all(_is_entry(entry) for _, entry, _ in entries)
        end = max((8 + length + entry["data_offsets"][1] for _, entry, _ in entries), default=size)
    except (OSError, ValueError, RecursionError, struct.error, LookupError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: is not a safetensors file ({error})", FRESH_COPY) from error
    if not well_formed:
        raise FileError(f"{path}: has a header that is not one of a safetensors file", FRESH_COPY)
    if end > size:
        raise FileError(f"{path}: is cut off: {size} bytes, expected {end}", FRESH_COPY)
    return entries


def _is_entry(entry: Any) -> bool:
    """Whether this is an entry for a tensor: its type, its shape, and the start and end of its bytes."""
    start, stop = entry["data_offsets"]
    numbers = all(type(number) is int and number >= 0 for number in (*entry["shape"], start, stop))
    return numbers and start <= stop and isinstance(entry["dtype"], str)
