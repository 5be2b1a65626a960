"""A bundle: the folder to deploy, with everything to run it, to check it, and to see how it was made."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bertedge.encoders import EncoderConfig, read_config
from bertedge.errors import BundleError, FileError
from bertedge.files import placeholder, sha256
from bertedge.heads import HEADS
from bertedge.hub_client import exists, name_in_cache
from bertedge.layers import linear_layers
from bertedge.manifest import AGAIN, MANIFEST, MODELS, Manifest, read_manifest
from bertedge.predictor import POOLER_OUTPUT
from bertedge.tokenizer import Tokenizer

#: The operators that an onnxruntime built for a ``model.ort`` needs.
OPERATORS = "required_operators_and_types.config"
GOLDEN = "golden.npz"
CONFIG = "config.json"
RANGES = "ranges.json"
SENSITIVITY = "sensitivity.json"
#: The dimension of a graph that has an extent of S, the tokens of a text.
SEQUENCE = "sequence"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle folder."""

    folder: Path
    manifest: Manifest = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path, *, check: bool = True) -> Bundle:
        """Read the manifest and compare the files with it.

        Args:
            check: compare hashes, not only sizes.

        Raises:
            BundleError: it is not a bundle, is of another schema, or a file is missing or altered.
        """
        folder = Path(folder)
        if not exists(folder, Path.is_dir):
            raise FileError(f"{folder}: no such bundle", "make one with: bertedge quantize MODEL -o BUNDLE")
        if not (folder / MANIFEST).is_file():
            hint = f"make one with: bertedge quantize {folder} -o BUNDLE" if (folder / CONFIG).is_file() else AGAIN
            raise BundleError(f"{folder}: is not a bundle (no {MANIFEST})", hint)
        bundle = cls(folder=folder, manifest=read_manifest(folder / MANIFEST))
        bundle.check_files(hashes=check)
        return bundle

    def check_files(self, *, hashes: bool = True) -> None:
        """Compare every file with the manifest.

        Raises:
            BundleError: files are missing or altered; it names them.
        """
        wrong = []
        for name, entry in self.manifest.files.items():
            path = self.folder / name
            if not os.path.isfile(path):  # Path.is_file raises for names that the system refuses
                wrong.append(f"{name} is missing")
            elif path.stat().st_size != entry.size_bytes or (hashes and sha256(path) != entry.sha256):
                found = placeholder(path)
                wrong.append(f"{name} is {found[0]}, not the file itself" if found else f"{name} was altered")
        if wrong:
            raise BundleError(f"{self.folder}: {', '.join(wrong)}", self._again)

    @property
    def _again(self) -> str:
        """What to do about a broken bundle."""
        folder = self.folder.absolute()
        return AGAIN if name_in_cache(folder) is None else f"delete {folder.parents[1]}, so that it is downloaded again"

    @property
    def name(self) -> str:
        """The folder's name; for a link, the name of the link; in the hub's cache, the name of the repository."""
        folder = Path(os.path.abspath(self.folder))
        return name_in_cache(folder) or folder.name

    @property
    def model_path(self) -> Path:
        """The model's file."""
        return self.folder / MODELS[self.manifest.format]

    @property
    def model_sha256(self) -> str:
        """See :attr:`bertedge.manifest.Manifest.model_sha256`."""
        return self.manifest.model_sha256

    @cached_property
    def config(self) -> EncoderConfig:
        """The model's sizes."""
        return read_config(self.manifest.config)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the model was trained with."""
        return Tokenizer.load(self.folder, max_length=self.config.max_length)

    @cached_property
    def head_settings(self) -> Any:
        """What the checkpoint says about its heads, as :data:`bertedge.heads.parts.HeadSettings`, with weights.

        Raises:
            FileError: weights are missing or broken.
            CheckpointError: they do not fit the settings.
        """
        settings, embedding = self.manifest.settings, self.manifest.embedding
        if embedding is None or not embedding.modules:
            return settings
        from bertedge.checkpoint.embedder_modules import with_all_weights  # most bundles do not need it

        return replace(settings, embedding=with_all_weights(self.folder, embedding))

    @property
    def output_sizes(self) -> dict[str, int | str]:
        """The sizes of the outputs: name in the graph -> its last extent, a number or the name of a dimension."""
        positions, config = self.manifest.positions, self.config
        parts = self.manifest.parts
        sizes: dict[str, int | str] = {}
        for name, outputs in parts.output_names(positions).items():
            size = config.hidden_size if name == POOLER_OUTPUT else HEADS[name].size(parts.structure(name, config))
            sizes |= dict.fromkeys(outputs, size if len(outputs) == 1 else SEQUENCE)
        return sizes

    @property
    def layer_names(self) -> list[str]:
        """The linear layers, in the order of computation."""
        return [layer.name for layer in linear_layers(self.manifest.parts.layers(self.config))]

    @property
    def size_bytes(self) -> int:
        """See :attr:`bertedge.manifest.Manifest.model_bytes`."""
        return self.manifest.model_bytes
