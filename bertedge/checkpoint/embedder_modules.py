"""The modules of a sentence-transformers folder that change a vector: their settings and their weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from bertedge.checkpoint.sources import open_source
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.errors import CheckpointError, FileError
from bertedge.pooling import EmbeddingSettings
from bertedge.records import read_json
from bertedge.vector_modules import VectorModule, activation_of, module_folder

MODULES = "modules.json"
WEIGHTS = "model.safetensors"
FRESH_COPY = "take a fresh copy of the file from the model's source"
NORMALIZE = "Normalize"
#: What a module reads and writes, unless its settings name something else.
VECTOR = "sentence_embedding"
#: The activation function of a dense layer that names none.
DEFAULT_ACTIVATION = "torch.nn.modules.activation.Tanh"


@dataclass(frozen=True, kw_only=True)
class Module:
    """An entry of ``modules.json``: the last word of the class's name, and the folder of its settings."""

    kind: str
    folder: Path
    path: str

    @property
    def name(self) -> str:
        """The module in words, such as ``2_Dense (Dense)``."""
        return f"{self.path} ({self.kind})" if self.path else self.kind

    def settings(self) -> dict[str, Any]:
        """Its ``config.json``; empty if there is none."""
        return settings_of(self.folder / "config.json")


def module_of(folder: Path, entry: Any) -> Module:
    """A module of an entry of ``modules.json``.

    Raises:
        FileError: it is not such an entry, or its path leaves the folder.
    """
    path, kind = (entry.get("path"), entry.get("type")) if isinstance(entry, dict) else (None, None)
    if not isinstance(path, str) or not isinstance(kind, str):
        raise FileError(f"{folder / MODULES}: a module has no path or no type", FRESH_COPY)
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path:
        raise FileError(f"{folder / MODULES}: the path {path!r} is outside of the folder", FRESH_COPY)
    known = kind.startswith("sentence_transformers.")
    return Module(kind=kind.rpartition(".")[2] if known else kind, folder=folder / path, path=path)


def settings_of(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no file."""
    if not os.path.isfile(path):
        return {}
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise FileError(f"{path}: expected a JSON object", FRESH_COPY)
    return raw


def read_vector_module(module: Module, width: int) -> VectorModule:
    """Read a module that changes a vector, with its weights.

    Args:
        width: numbers of the vector before it.

    Raises:
        FileError: its weights are missing or broken.
        CheckpointError: its settings are not known, or contradict its weights or the module before it.
    """
    raw = module.settings()
    entrance = raw.get("module_input_name") or VECTOR
    if not entrance == (raw.get("module_output_name") or entrance) == VECTOR:
        raise CheckpointError(
            f"{MODULES}: {module.name} reads {entrance!r}, expected {VECTOR!r}",
            "bertedge computes modules that change the vector of a text, not those of single tokens",
        )
    try:
        described = VECTOR_MODULES[module.kind](module, raw, width)
        return with_weights(module.folder, described) if described.shapes else described
    except CheckpointError as error:
        raise CheckpointError(f"{module.name}: {error.message}", error.hint) from error


def with_weights(folder: Path, module: VectorModule) -> VectorModule:
    """A module with the weights in its folder.

    Raises:
        FileError: there are none, or they cannot be read.
        CheckpointError: they do not fit the module.
    """
    source = open_source(folder, ForeignNames())
    return module.with_weights({name: source.load(name) for name in module.shapes if name in source.shapes})


def with_all_weights(folder: Path, settings: EmbeddingSettings) -> EmbeddingSettings:
    """The settings with the weights that :func:`bertedge.checkpoint.embedder_writer.write_vector_weights` wrote.

    Modules that have their weights already stay as they are.

    Raises:
        FileError: a file is missing or broken.
        CheckpointError: the weights do not fit the settings.
    """
    modules = (
        with_weights(folder / module_folder(index, module), module) if module.shapes.keys() - module.weights else module
        for index, module in enumerate(settings.modules)
    )
    return replace(settings, modules=tuple(modules))


def _dense(module: Module, raw: Mapping[str, Any], width: int) -> VectorModule:
    sizes = {key: raw.get(key) for key in ("in_features", "out_features")}
    for key, size in sizes.items():
        if type(size) is not int or size < 1:
            raise CheckpointError(f"{key} is {size!r}, expected a whole number of at least 1", FRESH_COPY)
    if sizes["in_features"] != width:
        raise CheckpointError(
            f"in_features is {sizes['in_features']}, but the vector before the module has {width} numbers",
            "the modules must come from the same model",
        )
    return VectorModule(
        kind="dense",
        inputs=width,
        outputs=int(raw["out_features"]),
        activation=activation_of(str(raw.get("activation_function", DEFAULT_ACTIVATION))),
        bias=bool(raw.get("bias", True)),
        residual=bool(raw.get("use_residual", False)),
    )


def _layer_norm(module: Module, raw: Mapping[str, Any], width: int) -> VectorModule:
    if raw.get("dimension") != width:
        raise CheckpointError(
            f"dimension is {raw.get('dimension')!r}, but the vector before the module has {width} numbers",
            "the modules must come from the same model",
        )
    return VectorModule(kind="layer_norm", inputs=width, outputs=width)


def _normalize(module: Module, raw: Mapping[str, Any], width: int) -> VectorModule:
    return VectorModule(kind="normalize", inputs=width, outputs=width)


#: Class of sentence-transformers -> how its settings are read.
VECTOR_MODULES: dict[str, Callable[[Module, Mapping[str, Any], int], VectorModule]] = {
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    NORMALIZE: _normalize,
}
