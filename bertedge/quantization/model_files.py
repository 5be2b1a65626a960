"""The files that a model can be written as: ONNX, or ORT for onnxruntime's minimal builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bertedge.bundle import OPERATORS
from bertedge.engines.onnxruntime.ort_format import save_ort_format, write_required_operators
from bertedge.errors import UsageError, nearest
from bertedge.graph.builder import GraphBuilder, Place
from bertedge.manifest import MODELS, WEIGHTS
from bertedge.scratch import temporary_folder

#: From this size on, in bytes, a model keeps its weights in a separate file, which onnxruntime maps instead of copying.
#: BERT-base in int8 (111 MB) loads in 0.27 s instead of 0.58 s and takes at most 190 MB instead of 292. Smaller
#: models are one file, which is easier to copy: a model of 6 MB loads as fast either way, and takes 67 or 72 MB.
EXTERNAL_WEIGHTS_MIN_BYTES = 16_000_000


@dataclass(frozen=True, kw_only=True)
class ModelFormat:
    """A format, named as in ``bertedge.manifest.MODELS``.

    Attributes:
        write: writes a graph and the other files of its format into a bundle's folder. Returns the place of each
            tensor; nothing for a format that only onnxruntime can read.
        minimal_build: minimal builds of onnxruntime read it.
    """

    write: Callable[[GraphBuilder, Path], dict[str, Place]]
    minimal_build: bool


def write_onnx(builder: GraphBuilder, folder: Path) -> dict[str, Place]:
    """``model.onnx``, and the weights of a larger model in ``model.onnx_data``."""
    external = folder / WEIGHTS if builder.size_bytes >= EXTERNAL_WEIGHTS_MIN_BYTES else None
    return builder.write(folder / MODELS["onnx"], external=external)


def write_ort(builder: GraphBuilder, folder: Path) -> dict[str, Place]:
    """``model.ort``, and the operators and types that an onnxruntime built for it needs.

    It is larger than ``model.onnx`` by a second table of the words: the decoder needs it transposed, and a minimal
    build does not transpose it when it loads the file. onnxruntime writes the file's parts in another order each time.
    """
    with temporary_folder() as scratch:
        write_onnx(builder, scratch)
        save_ort_format(scratch / MODELS["onnx"], folder / MODELS["ort"])
    write_required_operators(folder / MODELS["ort"], folder / OPERATORS)
    return {}


FORMATS = {
    "onnx": ModelFormat(write=write_onnx, minimal_build=False),
    "ort": ModelFormat(write=write_ort, minimal_build=True),
}


def format_named(name: str) -> ModelFormat:
    """The format of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"format {name!r} is not known", nearest(name, FORMATS))
    return FORMATS[name]
