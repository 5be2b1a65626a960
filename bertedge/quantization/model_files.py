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

#: Models of so many bytes keep their weights in a file of their own, which onnxruntime maps instead of copying it.
#: BERT-base in int8 (111 MB) loads in 0.27 s instead of 0.58 s and takes at most 190 MB instead of 292. Below, a file
#: that can be copied and fetched alone is worth more: a model of 6 MB loads as fast either way, and takes 67 or 72 MB.
EXTERNAL_WEIGHTS_MIN_BYTES = 16_000_000


@dataclass(frozen=True, kw_only=True)
class ModelFormat:
    """A format, named as in ``bertedge.manifest.MODELS``.

    Attributes:
        write: puts a graph, and what belongs to its format, into a bundle's folder; returns where each tensor is, or
            nothing for a file that only onnxruntime can read.
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

    It is larger than ``model.onnx`` by a second word table: the decoder's is turned here, as nothing is turned at load.
    onnxruntime writes the parts of the file in another order in every run.
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
