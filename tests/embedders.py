"""sentence-transformers folders around the tiny checkpoint, as the library's versions 2 to 6 write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bertedge.checkpoint.embedder import SWITCHES

HIDDEN = 32
MODELS = "sentence_transformers.models"
#: A module: the folder of its settings, its class, and its ``config.json``.
Entry = tuple[str, str, dict[str, Any] | None]
TORCH = "torch.nn.modules"
RNG = np.random.default_rng(3)
TRANSFORMER: Entry = ("", f"{MODELS}.Transformer", None)
NORMALIZE: Entry = ("2_Normalize", f"{MODELS}.Normalize", None)
DENSE: Entry = (
    "2_Dense",
    f"{MODELS}.Dense",
    {"in_features": HIDDEN, "out_features": 8, "bias": True, "activation_function": f"{TORCH}.activation.Tanh"},
)


def dense(path: str, inputs: int = HIDDEN, outputs: int = 8, activation: str = "activation.Tanh", **more: Any) -> Entry:
    """A dense module; :func:`embedder_folder` writes random weights for it."""
    sizes = {"in_features": inputs, "out_features": outputs, "bias": True}
    return path, f"{MODELS}.Dense", {**sizes, "activation_function": f"{TORCH}.{activation}", **more}


def layer_norm(path: str, size: int) -> Entry:
    """A layer norm module, with random weights."""
    return path, f"{MODELS}.LayerNorm", {"dimension": size}


def pooling(*modes: str, **settings: Any) -> Entry:
    """A pooling module with a switch for each mode, as versions before 5.4 write it."""
    switches = {switch: mode in modes for switch, mode in SWITCHES.items()}
    return "1_Pooling", f"{MODELS}.Pooling", {"word_embedding_dimension": HIDDEN, **switches, **settings}


def embedder_folder(
    folder: Path,
    model_folder: Path,
    modules: Sequence[Entry] = (TRANSFORMER, pooling("mean"), NORMALIZE),
    *,
    transformer: dict[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write a folder that sentence-transformers opens.

    Args:
        model_folder: the checkpoint that is copied to where the first module is.
        transformer: ``sentence_bert_config.json``.
        about: ``config_sentence_transformers.json``.
    """
    inside = folder / modules[0][0]
    shutil.copytree(model_folder, inside, dirs_exist_ok=True)
    lines = []
    for index, (path, kind, config) in enumerate(modules):
        lines.append({"idx": index, "name": str(index), "path": path, "type": kind})
        if config is not None:
            write(folder / path / "config.json", config)
            write_weights(folder / path, kind.rpartition(".")[2], config)
    write(folder / "modules.json", lines)
    if transformer is not None:
        write(inside / "sentence_bert_config.json", transformer)
    if about is not None:
        write(folder / "config_sentence_transformers.json", about)
    return folder


def write_weights(folder: Path, kind: str, config: dict[str, Any]) -> None:
    """Random weights of a module that has any."""
    tensors: dict[str, np.ndarray] = {}
    if kind == "Dense":
        outputs, inputs = config["out_features"], config["in_features"]
        tensors["linear.weight"] = RNG.normal(scale=inputs**-0.5, size=(outputs, inputs))
        tensors |= {"linear.bias": RNG.normal(size=outputs)} if config.get("bias", True) else {}
        if config.get("use_residual") and inputs != outputs:
            tensors["residual.weight"] = RNG.normal(scale=inputs**-0.5, size=(outputs, inputs))
    if kind == "LayerNorm":
        tensors = {f"norm.{name}": RNG.normal(size=config["dimension"]) for name in ("weight", "bias")}
    if tensors:
        save_file({name: array.astype(np.float32) for name, array in tensors.items()}, folder / "model.safetensors")


def write(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
