"""sentence-transformers folders around the tiny checkpoint, as the library's versions 2 to 6 write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertedge.checkpoint.embedder import SWITCHES

HIDDEN = 32
MODELS = "sentence_transformers.models"
#: A module: the folder of its settings, its class, and its ``config.json``.
Entry = tuple[str, str, dict[str, Any] | None]
TRANSFORMER: Entry = ("", f"{MODELS}.Transformer", None)
NORMALIZE: Entry = ("2_Normalize", f"{MODELS}.Normalize", None)
DENSE: Entry = (
    "2_Dense",
    f"{MODELS}.Dense",
    {"in_features": HIDDEN, "out_features": 8, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"},
)


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
    write(folder / "modules.json", lines)
    if transformer is not None:
        write(inside / "sentence_bert_config.json", transformer)
    if about is not None:
        write(folder / "config_sentence_transformers.json", about)
    return folder


def write(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
