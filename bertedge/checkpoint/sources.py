"""Sources of tensors: one reader for each file format, all with the same interface.

A source has all names and shapes immediately and loads one tensor at a time, so that a large checkpoint is never in
memory as a whole.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint.compiled import refuse_compiled
from bertedge.checkpoint.pytorch_file import read_pytorch
from bertedge.checkpoint.safetensors_file import read_safetensors
from bertedge.checkpoint.tensor_files import FileSource
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.errors import FileError, MissingExtraError
from bertedge.files import FRESH_COPY, placeholder, refuse_placeholder
from bertedge.records import read_json


class TensorSource(Protocol):
    """Tensors under their canonical names."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""
        ...

    @property
    def kinds(self) -> Mapping[str, str]:
        """The stored type of every tensor, such as ``float32``."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold them, for provenance."""
        ...

    def load(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32, row-major."""
        ...


class ArraysSource:
    """Tensors in memory, under canonical names."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], files: Sequence[Path] = ()) -> None:
        self.files = files
        self._arrays = arrays
        self.shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        self.kinds = {name: str(array.dtype) for name, array in arrays.items()}

    def load(self, name: str) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._arrays[name], dtype=np.float32)


def _safetensors(path: Path, names: ForeignNames) -> FileSource:
    return FileSource([path], read_safetensors, names)


def _sharded_safetensors(index: Path, names: ForeignNames) -> FileSource:
    return FileSource(_shards(index), read_safetensors, names)


def _pytorch(path: Path, names: ForeignNames) -> FileSource:
    return FileSource([path], read_pytorch, names)


def _sharded_pytorch(index: Path, names: ForeignNames) -> FileSource:
    return FileSource(_shards(index), read_pytorch, names)


def _shards(index: Path) -> list[Path]:
    """The files that an index names, such as ``model.safetensors.index.json``."""
    raw = read_json(index)
    weight_map = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise FileError(f"{index}: has no weight_map of tensor names to files", FRESH_COPY)
    shards = sorted({index.parent / Path(name).name for name in weight_map.values()})
    absent = [
        shard.name for shard in shards if not os.path.isfile(shard)
    ]  # unlike Path.is_file, False for a name that the system refuses
    if absent or not shards:
        raise FileError(f"{index}: shards missing: {', '.join(absent) or 'all'}", "download the whole model again")
    return shards


def _tensorflow(index: Path, names: ForeignNames) -> ArraysSource:
    """Google's ``bert_model.ckpt.index`` and its data file."""
    try:
        training = importlib.import_module("tensorflow").train
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorflow", "tensorflow") from error
    refuse_placeholder(index)
    prefix = str(index)[: -len(".index")]
    arrays = {}
    try:
        reader = training.load_checkpoint(prefix)
        for foreign in reader.get_variable_to_shape_map():
            name, transposed = names.canonical_tensorflow(foreign)
            array = np.asarray(reader.get_tensor(foreign))
            arrays[name] = array.T if transposed else array
    except Exception as error:  # tensorflow's errors have no common base class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"{prefix}: is not a readable TensorFlow checkpoint ({reason})", FRESH_COPY) from error
    return ArraysSource(arrays, sorted(index.parent.glob(f"{index.stem}.*")))


#: file pattern -> reader, in order of preference. A new format is one row.
READERS: tuple[tuple[str, Callable[[Path, ForeignNames], TensorSource]], ...] = (
    ("model.safetensors", _safetensors),
    ("model.safetensors.index.json", _sharded_safetensors),
    ("pytorch_model.bin", _pytorch),
    ("pytorch_model.bin.index.json", _sharded_pytorch),
    ("*.ckpt.index", _tensorflow),
)


def open_source(folder: Path, names: ForeignNames) -> TensorSource:
    """The weights in a checkpoint folder, in any known format.

    Args:
        names: how the files name the tensors.

    Raises:
        FileError: there are none, or only Git LFS pointers to them.
    """
    found = [(path, reader) for pattern, reader in READERS for path in sorted(folder.glob(pattern))]
    if not found:
        refuse_compiled(folder)
        raise FileError(
            f"{folder}: no weights; expected one of {', '.join(pattern for pattern, _ in READERS)}",
            "give the folder that holds config.json and the weights",
        )
    downloaded = [(path, reader) for path, reader in found if placeholder(path) is None]
    path, reader = (downloaded or found)[0]
    return reader(path, names)
