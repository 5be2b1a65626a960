"""Find the folder of a model that a user names: by its path, a built-in name or a hub id."""

from __future__ import annotations

import logging
from dataclasses import replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

from bertedge.checkpoint.checkpoint import Checkpoint
from bertedge.errors import FileError, nearest
from bertedge.hub_client import HubName, exists, explain, hub_name

_log = logging.getLogger(__name__)
MODELS = Path(str(resources.files("bertedge") / "models"))
#: The checkpoints that ship inside the package: one that fills masks and judges pairs, and a classifier made of it.
BUILT_IN = ("bertedge-small-en", "bertedge-banking-en")
HUB_FILES = [
    "config.json",
    "bert_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer*.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "heads.toml",
    # sentence-transformers: the modules' settings, and the transformer if it has its own folder
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "[0-9]_*/*.json",
    "[0-9]_*/vocab.txt",
    "[0-9]_*/merges.txt",
    "[0-9]_*/model.safetensors",
]
#: Downloaded only if there is no safetensors file.
PICKLED_FILES = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model-*.bin",
    "[0-9]_*/pytorch_model.bin",
]


def open_checkpoint(model: str | Path, *, cased: bool | None = None) -> Checkpoint:
    """Open a checkpoint given as a folder, a built-in name or a hub id (downloaded into the hub's own cache).

    A hub id may end in ``@`` and a branch, a tag or a commit.

    Args:
        cased: whether capital letters are kept; None: the setting in the tokenizer's files.
    """
    folder = locate(model)
    _log.info("reading the checkpoint %s from %s", model, folder)
    # folders of the hub's cache are named by commit hashes
    name = None if folder == Path(model) else str(model).partition("@")[0].rpartition("/")[2]
    checkpoint = Checkpoint.read(folder, name=name)
    return checkpoint if cased is None else replace(checkpoint, cased=cased)


def locate(model: str | Path) -> Path:
    """The folder of a model; see :func:`open_checkpoint`.

    Raises:
        FileError: there is no folder, no built-in model and no model on the hub of that name.
    """
    name = str(model)
    if exists(name, Path.is_dir):
        return Path(name)
    if name in BUILT_IN:
        return MODELS / name
    if exists(name):
        raise FileError(f"{name}: is a file, expected a folder", "give the folder that holds config.json")
    misspelt = get_close_matches(name, BUILT_IN, n=1, cutoff=0.85)  # no need to ask the hub
    repository = None if misspelt or not isinstance(model, str) else hub_name(name, with_owner=False)
    if repository is not None:
        return _download(repository)
    raise FileError(f"{name}: no such folder or built-in model", nearest(name, BUILT_IN))


def _download(repository: HubName) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise FileError(
            f"{repository}: no such folder, and searching the hub needs huggingface_hub",
            f"give a folder or one of {', '.join(BUILT_IN)}; for hub ids: pip install huggingface_hub",
        ) from error

    def fetch(patterns: list[str]) -> Path:
        return Path(snapshot_download(repository.repository, revision=repository.revision, allow_patterns=patterns))

    try:
        folder = fetch(HUB_FILES)
        # only the transformer's weights count: later modules have their own
        if not any((*folder.glob("*.safetensors*"), *folder.glob("0_*/*.safetensors*"))):
            folder = fetch([*HUB_FILES, *PICKLED_FILES])
    except Exception as error:  # the hub client raises many kinds of errors, also of the network
        reason, hint = explain(error)
        raise FileError(
            f"{repository}: no such folder, and the hub did not deliver it ({reason})",
            f"{hint}, or give a folder or one of {', '.join(BUILT_IN)}",
        ) from error
    return folder
