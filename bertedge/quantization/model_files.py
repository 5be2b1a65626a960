"""The files that a model can be written as: ONNX, or ORT for onnxruntime's minimal builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from bertedge.bundle import OPERATORS
from bertedge.engines.onnxruntime.session import save_ort_format
from bertedge.engines.onnxruntime.utf8_path import utf8_path
from bertedge.errors import UsageError, nearest
from bertedge.graph.builder import GraphBuilder
from bertedge.manifest import MODELS
from bertedge.scratch import temporary_folder


@dataclass(frozen=True, kw_only=True)
class ModelFormat:
    """A format, named as in ``bertedge.manifest.MODELS``.

    Attributes:
        write: puts a graph, and what belongs to its format, into a bundle's folder.
        minimal_build: minimal builds of onnxruntime read it.
    """

    write: Callable[[GraphBuilder, Path], None]
    minimal_build: bool


def write_onnx(builder: GraphBuilder, folder: Path) -> None:
    """``model.onnx``."""
    builder.write(folder / MODELS["onnx"])


def write_ort(builder: GraphBuilder, folder: Path) -> None:
    """``model.ort``, and the operators and types that an onnxruntime built for it needs.

    It is larger than ``model.onnx`` by a second word table: the decoder's is turned here, as nothing is turned at load.
    onnxruntime writes the parts of the file in another order in every run.
    """
    with temporary_folder() as scratch:
        write_onnx(builder, scratch)
        save_ort_format(scratch / MODELS["onnx"], folder / MODELS["ort"])
    _write_operators(folder / MODELS["ort"], folder / OPERATORS)


def _write_operators(model: Path, path: Path) -> None:
    """The file for ``build.py --include_ops_by_config``."""
    from onnxruntime.tools.ort_format_model import utils  # loads flatbuffers, which comes with onnxruntime

    utils.log.disabled = True  # it would tell of a file in a scratch folder
    with utf8_path(model) as named:
        utils.create_config_from_models([Path(named)], path, True)
    required = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    # the comments held the scratch folder's name, other on every run
    header = f"# What {model.name} needs, found by onnxruntime {ort.__version__}"
    path.write_text("\n".join([header, *required, ""]), encoding="utf-8")


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
