"""``pytorch_model.bin`` as ``torch.save`` writes it since 1.6: a zip archive of a pickle and the tensors' storages.

Records are not compressed, so a tensor is read at its offset, as in a safetensors file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bertedge.archives import Archive, open_archive
from bertedge.checkpoint.tensor_files import ITEM_BYTES, Place
from bertedge.checkpoint.torch_objects import RefusedPickle, StoredTensor
from bertedge.checkpoint.torch_pickle import MAX_BYTES, read_pickle
from bertedge.errors import FileError
from bertedge.files import FRESH_COPY

#: Files of torch before 1.6 begin with a pickle of this number.
LEGACY, LEGACY_WITHIN = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", 64
#: Keys under which training scripts save the weights.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "weights")
ONLY_TENSORS = "save model.state_dict() alone, or convert it to safetensors"
SAVE_AGAIN = (
    "where torch is installed, write it again in its folder: "
    "python -c \"import torch; p = 'pytorch_model.bin'; torch.save(torch.load(p, weights_only=True), p)\""
)


def read_pytorch(path: Path) -> Iterator[tuple[str, Place]]:
    """The tensors of a file, under the file's names. No code in the file is run.

    Raises:
        FileError: it is damaged, has torch's old format, or holds something other than a state dict.
    """
    _refuse_legacy(path)
    with open_archive(path) as archive:
        folder = _folder(archive)
        try:
            state = _state_dict(read_pickle(_content(archive, f"{folder}/data.pkl", MAX_BYTES)))
        except RefusedPickle as error:
            raise FileError(f"{path}: cannot be read: {error}", ONLY_TENSORS) from error
        if not state:
            raise FileError(f"{path}: holds no state dict", "save model.state_dict(), not the model")
        mark = f"{folder}/byteorder"
        big = mark in archive and _content(archive, mark, 16) == b"big"
        for name, tensor in state.items():
            yield name, _place(archive, folder, name, tensor, ">" if big else "<")


def _state_dict(value: Any, depth: int = 3) -> dict[str, StoredTensor]:
    """The tensors of a state dict, or of the state dict inside a training checkpoint; otherwise nothing."""
    if not isinstance(value, dict) or depth == 0:
        return {}
    tensors = {name: item for name, item in value.items() if isinstance(item, StoredTensor)}
    if tensors:
        return tensors if all(isinstance(name, str) for name in tensors) else {}
    return next(filter(None, (_state_dict(value.get(name), depth - 1) for name in NESTED)), {})


def _place(archive: Archive, folder: str, name: str, tensor: StoredTensor, order: Literal["<", ">"]) -> Place:
    """The place of a tensor in the file; tensors of types that cannot be loaded have no place."""
    if tensor.kind not in ITEM_BYTES:
        return Place(kind=tensor.kind, shape=tensor.shape)
    start, size = archive.place(f"{folder}/data/{tensor.storage}")
    item = ITEM_BYTES[tensor.kind]
    held = size // item
    if tensor.offset + tensor.span > held or math.prod(tensor.shape) > held:
        raise FileError(
            f"{archive.path}: {name} of shape {list(tensor.shape)} does not fit its data, {size:,} bytes", FRESH_COPY
        )
    return Place(
        kind=tensor.kind,
        shape=tensor.shape,
        start=start + tensor.offset * item,
        count=tensor.span,
        strides=tensor.strides,
        byte_order=order,
    )


def _refuse_legacy(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            legacy = LEGACY in file.read(LEGACY_WITHIN)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", FRESH_COPY) from error
    if legacy:
        raise FileError(f"{path}: has the format of torch before 1.6", SAVE_AGAIN)


def _folder(archive: Archive) -> str:
    """The archive's only top folder."""
    found = [name.removesuffix("/data.pkl") for name in archive.sizes if name.endswith("/data.pkl")]
    if len(found) != 1 or f"{found[0]}/constants.pkl" in archive:
        what = "a TorchScript program" if found else "an archive without data.pkl"
        raise FileError(f"{archive.path}: is {what}, not a state dict", "save model.state_dict() with torch.save")
    return found[0]


def _content(archive: Archive, name: str, limit: int) -> bytes:
    """The bytes of a small record. Its checksum is ignored, because torch may omit it."""
    start, size = archive.place(name)
    with open(archive.path, "rb") as file:
        file.seek(start)
        return file.read(min(size, limit + 1))
