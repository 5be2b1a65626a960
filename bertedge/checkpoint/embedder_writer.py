"""Write what a model does to make vectors, as sentence-transformers and bertedge read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bertedge.checkpoint.embedder import ABOUT, SWITCHES, TRANSFORMER_SETTINGS
from bertedge.checkpoint.embedder_modules import MODULES, WEIGHTS
from bertedge.encoders import EncoderConfig
from bertedge.errors import MissingExtraError
from bertedge.files import write_bytes
from bertedge.pooling import EmbeddingSettings
from bertedge.records import write_json
from bertedge.vector_modules import VectorModule, module_folder, torch_class

LIBRARY = "sentence_transformers.models"


def write_embedder(folder: Path, settings: EmbeddingSettings, config: EncoderConfig) -> None:
    """Write the settings next to a checkpoint, or next to a graph that computes every position.

    For a model of another hidden size, modules that do not fit it are not written.
    """
    settings = settings.fitting(config.hidden_size)
    entries: list[tuple[str, str]] = [("", "Transformer")]
    if settings.pooling:
        entries.append(("1_Pooling", "Pooling"))
        write_json(folder / "1_Pooling" / "config.json", _pooling(settings, config.hidden_size))
    steps = [*settings.modules, *_scaling(settings, config.hidden_size)]
    entries += [(module_folder(index, module), module.name) for index, module in enumerate(steps)]
    for index, module in enumerate(steps):
        write_json(folder / module_folder(index, module) / "config.json", _SETTINGS[module.kind](module))
    write_vector_weights(folder, settings)
    write_json(
        folder / MODULES,
        [
            {"idx": index, "name": str(index), "path": path, "type": f"{LIBRARY}.{kind}"}
            for index, (path, kind) in enumerate(entries)
        ],
    )
    length = min(settings.max_seq_length, config.max_length)
    write_json(folder / TRANSFORMER_SETTINGS[0], {"max_seq_length": length, "do_lower_case": False})
    about: dict[str, Any] = {"prompts": settings.prompts, "default_prompt_name": settings.default_prompt_name}
    about["similarity_fn_name"] = settings.similarity
    about |= {} if settings.truncate_dim is None else {"truncate_dim": settings.truncate_dim}
    write_json(folder / ABOUT, about)


def write_vector_weights(folder: Path, settings: EmbeddingSettings) -> None:
    """Write the weights of the modules after the pooling, in float32; see :func:`with_all_weights`.

    Raises:
        MissingExtraError: the package safetensors is missing.
    """
    if not any(module.shapes for module in settings.modules):
        return
    try:
        from safetensors.numpy import save
    except ModuleNotFoundError as error:
        raise MissingExtraError("safetensors", "tools") from error
    for index, module in enumerate(settings.modules):
        if module.shapes:
            tensors = {name: np.ascontiguousarray(module.weights[name]) for name in module.shapes}
            write_bytes(folder / module_folder(index, module) / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def _pooling(settings: EmbeddingSettings, hidden_size: int) -> dict[str, Any]:
    modes: dict[str, Any] = {switch: mode in settings.pooling for switch, mode in SWITCHES.items()}
    if settings.pooling != tuple(mode for mode in SWITCHES.values() if mode in settings.pooling):
        modes = {"pooling_mode": list(settings.pooling)}  # the switches cannot express this order
    return {"word_embedding_dimension": hidden_size, "include_prompt": settings.include_prompt, **modes}


def _scaling(settings: EmbeddingSettings, hidden_size: int) -> list[VectorModule]:
    """The module that scales vectors to length 1 at the end."""
    width = settings.modules[-1].outputs if settings.modules else settings.pooled_width(hidden_size)
    return [VectorModule(kind="normalize", inputs=width, outputs=width)] if settings.normalize else []


def _dense(module: VectorModule) -> dict[str, Any]:
    residual = {"use_residual": True} if module.residual else {}
    return {
        "in_features": module.inputs,
        "out_features": module.outputs,
        "bias": module.bias,
        "activation_function": torch_class(module.activation),
        **residual,
    }


_SETTINGS = {
    "dense": _dense,
    "layer_norm": lambda module: {"dimension": module.inputs},
    "normalize": lambda module: {},
}
