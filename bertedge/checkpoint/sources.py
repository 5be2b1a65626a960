"""Where tensors come from: one reader a file format, all with the same face.

A source knows names and shapes at once and loads one tensor at a time, so that a large checkpoint never stands in
memory whole.
"""

from __future__ import annotations

import importlib
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint.names import canonical_name, canonical_tensorflow_name
from bertedge.errors import CheckpointError, FileError, MissingExtraError
from bertedge.records import read_json

#: The types of a safetensors file that can hold weights; bfloat16 is widened by hand because numpy has no such type.
SAFETENSORS_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
FRESH_COPY = "take a fresh copy of the file"


class TensorSource(Protocol):
    """Tensors under their canonical names."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Extents of every tensor."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold them, for provenance."""
        ...

    def load(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32, row-major."""
        ...


class SafetensorsSource:
    """One or several safetensors files, read with plain seeks.

    Mapping the file (as the safetensors library does) would count every page it touched as memory of this process;
    reading a tensor at its offset needs that tensor's bytes and no more.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.files = paths
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, tuple[Path, str, int, int]] = {}
        for path in paths:
            for foreign, entry, offset in _safetensors_header(path):
                name = canonical_name(foreign)
                start, stop = entry["data_offsets"]
                self.shapes[name] = tuple(entry["shape"])
                self._places[name] = (path, entry["dtype"], offset + start, stop - start)

    def load(self, name: str) -> NDArray[np.float32]:
        path, kind, offset, size = self._places[name]
        if kind not in SAFETENSORS_TYPES:
            raise CheckpointError(
                f"{path}: {name} has type {kind}, expected one of {', '.join(SAFETENSORS_TYPES)}",
                "quantized or integer checkpoints cannot be read; take the float one",
            )
        dtype = np.dtype(SAFETENSORS_TYPES[kind])
        try:
            raw = np.fromfile(path, dtype=dtype, count=size // dtype.itemsize, offset=offset)
        except OSError as error:
            raise FileError(f"{path}: cannot be read ({error.strerror})", FRESH_COPY) from error
        if raw.size != math.prod(self.shapes[name]):
            raise FileError(f"{path}: {name} ends before its data does", FRESH_COPY)
        if kind == "BF16":  # the upper half of a float32
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32, copy=False).reshape(self.shapes[name])


class ArraysSource:
    """Tensors that a library handed over whole, already under canonical names."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], files: Sequence[Path] = ()) -> None:
        self.files = files
        self._arrays = arrays
        self.shapes = {name: tuple(array.shape) for name, array in arrays.items()}

    def load(self, name: str) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._arrays[name], dtype=np.float32)


def _safetensors_header(path: Path) -> list[tuple[str, dict[str, Any], int]]:
    """(name, entry, offset of the data block) of each tensor; the format is 8 bytes of length, JSON, data."""
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
    """Whether this is a tensor's line in the header: its type, its extents, where its bytes start and stop."""
    start, stop = entry["data_offsets"]
    numbers = all(type(number) is int and number >= 0 for number in (*entry["shape"], start, stop))
    return numbers and start <= stop and isinstance(entry["dtype"], str)


def _single(path: Path) -> SafetensorsSource:
    return SafetensorsSource([path])


def _sharded(index: Path) -> SafetensorsSource:
    """``model.safetensors.index.json`` names the shards."""
    raw = read_json(index)
    weight_map = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise FileError(f"{index}: has no weight_map of tensor names to files", FRESH_COPY)
    shards = sorted({index.parent / Path(name).name for name in weight_map.values()})
    absent = [shard.name for shard in shards if not shard.is_file()]
    if absent or not shards:
        raise FileError(f"{index}: shards missing: {', '.join(absent) or 'all'}", "download the whole model again")
    return SafetensorsSource(shards)


def _pytorch(path: Path) -> ArraysSource:
    """``pytorch_model.bin``; torch reads it, so the reader lives in the one folder that may import torch."""
    try:
        reader = importlib.import_module("bertedge.train.pytorch_file")
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train") from error
    arrays: dict[str, NDArray[Any]] = reader.read_arrays(path)
    return ArraysSource({canonical_name(name): array for name, array in arrays.items()}, [path])


def _tensorflow(index: Path) -> ArraysSource:
    """Google's ``bert_model.ckpt.index`` and its data file."""
    try:
        training = importlib.import_module("tensorflow").train
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorflow", "tensorflow") from error
    prefix = str(index)[: -len(".index")]
    arrays = {}
    try:
        reader = training.load_checkpoint(prefix)
        for foreign in reader.get_variable_to_shape_map():
            name, transposed = canonical_tensorflow_name(foreign)
            array = np.asarray(reader.get_tensor(foreign))
            arrays[name] = array.T if transposed else array
    except Exception as error:  # tensorflow's errors share no base with anything importable here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"{prefix}: is not a readable TensorFlow checkpoint ({reason})", FRESH_COPY) from error
    return ArraysSource(arrays, sorted(index.parent.glob(f"{index.stem}.*")))


#: file pattern -> reader, in order of preference. A new format is one row.
READERS: tuple[tuple[str, Callable[[Path], TensorSource]], ...] = (
    ("model.safetensors", _single),
    ("model.safetensors.index.json", _sharded),
    ("pytorch_model.bin", _pytorch),
    ("*.ckpt.index", _tensorflow),
)


def open_source(folder: Path) -> TensorSource:
    """The weights in a checkpoint folder, whatever their format.

    Raises:
        FileError: there are none.
    """
    for pattern, reader in READERS:
        for path in sorted(folder.glob(pattern)):
            return reader(path)
    raise FileError(
        f"{folder}: no weights; expected one of {', '.join(pattern for pattern, _ in READERS)}",
        "give the folder that holds config.json and the weights",
    )
