"""``pytorch_model.bin`` as ``torch.save`` writes it since 1.6: a zip archive of a pickle and one record a storage.

Records are not compressed, so a tensor is read at its place like one of a safetensors file.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bertedge.checkpoint.tensor_files import FRESH_COPY, ITEM_BYTES, Place
from bertedge.checkpoint.torch_objects import RefusedPickle, StoredTensor
from bertedge.checkpoint.torch_pickle import MAX_BYTES, read_pickle
from bertedge.errors import FileError

#: What torch wrote before 1.6 begins with a pickle of this number.
LEGACY, LEGACY_WITHIN = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", 64
#: Where training scripts put the weights among other things.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "weights")
ONLY_TENSORS = "save model.state_dict() alone, or convert it to safetensors"
SAVE_AGAIN = (
    "where torch is installed, write it again: "
    "python -c \"import torch; p = 'pytorch_model.bin'; torch.save(torch.load(p, weights_only=True), p)\""
)
#: What the standard library raises on a damaged archive.
BROKEN = (OSError, ValueError, OverflowError, EOFError, NotImplementedError, struct.error, zipfile.BadZipFile)
LOCAL_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A file in the archive: the bytes before it, and its own."""

    start: int
    size: int


def read_pytorch(path: Path) -> Iterator[tuple[str, Place]]:
    """The tensors of a file, as they are named there; nothing in it is run.

    Raises:
        FileError: it is damaged, of torch's old format, or holds other things than a state dict.
    """
    records = _records(path)
    try:
        state = _state_dict(read_pickle(_content(path, records.get("data.pkl"), MAX_BYTES)))
    except RefusedPickle as error:
        raise FileError(f"{path}: cannot be read: {error}", ONLY_TENSORS) from error
    if not state:
        raise FileError(f"{path}: holds no state dict", "save model.state_dict(), not the model")
    order: Literal["<", ">"] = ">" if _content(path, records.get("byteorder"), 16) == b"big" else "<"
    for name, tensor in state.items():
        yield name, _place(path, name, tensor, records, order)


def _state_dict(value: Any, depth: int = 3) -> dict[str, StoredTensor]:
    """The tensors of a state dict, or of the one that lies among other things of a training run; else nothing."""
    if not isinstance(value, dict) or depth == 0:
        return {}
    tensors = {name: item for name, item in value.items() if isinstance(item, StoredTensor)}
    if tensors:
        return tensors if all(isinstance(name, str) for name in tensors) else {}
    return next(filter(None, (_state_dict(value.get(name), depth - 1) for name in NESTED)), {})


def _place(
    path: Path, name: str, tensor: StoredTensor, records: Mapping[str, Record], order: Literal["<", ">"]
) -> Place:
    """Where a tensor lies in the file; a kind that is never loaded needs no place."""
    if tensor.kind not in ITEM_BYTES:
        return Place(kind=tensor.kind, shape=tensor.shape)
    record, size = records.get(f"data/{tensor.storage}"), ITEM_BYTES[tensor.kind]
    if record is None:
        raise FileError(f"{path}: the data of {name} is missing", FRESH_COPY)
    held = record.size // size
    if tensor.offset + tensor.span > held or math.prod(tensor.shape) > held:
        raise FileError(
            f"{path}: {name} of shape {list(tensor.shape)} does not fit its data, {record.size:,} bytes", FRESH_COPY
        )
    return Place(
        kind=tensor.kind,
        shape=tensor.shape,
        start=record.start + tensor.offset * size,
        count=tensor.span,
        strides=tensor.strides,
        byte_order=order,
    )


def _records(path: Path) -> dict[str, Record]:
    """The files in the archive that a state dict has, without the folder that all are in."""
    try:
        with open(path, "rb") as file:
            if LEGACY in file.read(LEGACY_WITHIN):
                raise FileError(f"{path}: is of the format that torch wrote before 1.6", SAVE_AGAIN)
            with zipfile.ZipFile(file) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
            folder, size = _folder(path, entries), path.stat().st_size
            wanted = re.compile(re.escape(folder) + r"/(data\.pkl|byteorder|data/[^/]+)")
            return {
                name.removeprefix(f"{folder}/"): _record(file, entry, size)
                for name, entry in entries.items()
                if wanted.fullmatch(name)
            }
    except BROKEN as error:
        raise FileError(f"{path}: is not a file that torch.save wrote ({error})", FRESH_COPY) from error


def _folder(path: Path, names: Collection[str]) -> str:
    """The folder inside the archive that holds everything."""
    found = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(found) != 1 or f"{found[0]}/constants.pkl" in names:
        what = "a TorchScript program" if found else "an archive without data.pkl"
        raise FileError(f"{path}: is {what}, not a state dict", "save model.state_dict() with torch.save")
    return found[0]


def _record(file: Any, entry: zipfile.ZipInfo, size: int) -> Record:
    """Where an entry's bytes are; its own header, which may differ from the table at the end, says so."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise ValueError(f"{_short(entry.filename)} is compressed or encrypted")
    file.seek(entry.header_offset)
    magic, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    start = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if magic != b"PK\x03\x04" or start + entry.file_size > size:
        raise ValueError(f"{_short(entry.filename)} is cut off")
    return Record(start=start, size=entry.file_size)


def _short(name: str) -> str:
    return ascii(name[:60])[1:-1]


def _content(path: Path, record: Record | None, limit: int) -> bytes:
    """The bytes of a small record; nothing where it is not there."""
    if record is None:
        return b""
    with open(path, "rb") as file:
        file.seek(record.start)
        return file.read(min(record.size, limit + 1))
