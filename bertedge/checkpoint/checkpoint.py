"""A checkpoint: configuration, named float weights, tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint.embedder import EmbedderFolder
from bertedge.checkpoint.fit import refuse_other_family, require_fit
from bertedge.checkpoint.named_classifiers import HEADS_FILE, read_named_classifiers
from bertedge.checkpoint.sources import TensorSource, open_source
from bertedge.checkpoint.tensor_files import FLOAT_TYPES
from bertedge.encoders import (
    CONFIG_FILES,
    ENCODERS,
    EncoderConfig,
    encoder_of,
    names,
    raw_config,
    read_config_file,
    write_config,
)
from bertedge.encoders.foreign_names import IGNORED, ForeignNames
from bertedge.errors import CheckpointError, FileError, MissingExtraError
from bertedge.files import refuse_placeholder, sha256
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.ranking.rank_settings import LIBRARY
from bertedge.heads.structure import Found, NamedClassifier
from bertedge.pooling import EmbeddingSettings
from bertedge.printable import shown
from bertedge.records import to_json
from bertedge.tokenizer import Tokenizer

#: Suffixes of the tokenizer's files. Git LFS pointers among them are reported before the files are parsed.
TOKENIZER_SUFFIXES = (".json", ".txt", ".model")
#: A warning names at most this many tensors; the manifest names all.
MANY = 12
#: The square of a larger weight exceeds float32. Weights of healthy models are below 100.
LARGEST_WEIGHT = 1e18


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A float encoder whose tensors are loaded one at a time.

    Attributes:
        name: the folder's name, for reports.
        source: the tensors under canonical names.
        folder: where it was read from; None for a model made in memory.
        tokenizer_: a tokenizer to use instead of the folder's; None for the folder's.
        selection: bytes that describe how the files' tensors were changed; empty if they were not.
        embedding: the settings of a sentence-transformers folder; None for any other folder.
        cased: whether capital letters are kept, instead of the setting in the tokenizer's files; None: their setting.
        raw_config: the content of ``config.json``, which also tells what the heads are.
        classifiers: those that ``heads.toml`` names; see :mod:`bertedge.checkpoint.named_classifiers`.
    """

    name: str
    config: EncoderConfig
    source: TensorSource
    folder: Path | None = None
    tokenizer_: Tokenizer | None = None
    selection: bytes = b""
    embedding: EmbeddingSettings | None = None
    cased: bool | None = None
    raw_config: Mapping[str, Any] = field(default_factory=dict)
    classifiers: Mapping[str, NamedClassifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_fit(self.name, self.config, self.parts, self.source.shapes, self.source.kinds)

    @classmethod
    def read(cls, folder: str | Path, *, name: str | None = None) -> Checkpoint:
        """Open a checkpoint folder: ``config.json``, weights in any known format, tokenizer files.

        A folder with ``modules.json`` is one of sentence-transformers; its transformer may be in a folder inside.

        Args:
            name: for reports; default: the folder's name.

        Raises:
            FileError: the folder or a file in it is missing or broken.
            CheckpointError: the family is not supported, or the tensors do not fit ``config.json``.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileError(f"{folder}: no such folder", "give a checkpoint folder, a hub id or a built-in name")
        name = name or folder.resolve().name
        embedder = EmbedderFolder.find(folder)
        folder = embedder.transformer if embedder else folder
        for config_file in CONFIG_FILES:
            if (folder / config_file).is_file():
                raw, config = _config(folder / config_file, name)
                source = open_source(folder, encoder_of(config).names)
                checkpoint = cls(
                    name=name,
                    folder=folder,
                    config=config,
                    source=source,
                    raw_config=raw,
                    classifiers=read_named_classifiers(folder),
                )
                return checkpoint._with_embedder(embedder) if embedder else checkpoint
        raise FileError(
            f"{folder}: no {' and no '.join(CONFIG_FILES)}", "give the folder that holds the model's config"
        )

    def _with_embedder(self, embedder: EmbedderFolder) -> Checkpoint:
        """A copy with the settings of a sentence-transformers folder."""
        tokenizer = self._load_tokenizer().lowercased() if embedder.lowercase else None
        if embedder.is_cross_encoder:
            told = {LIBRARY: embedder.cross_encoder(self.config)}
            return replace(self, raw_config={**self.raw_config, **told}, tokenizer_=tokenizer)
        return replace(self, embedding=embedder.settings(self.config), tokenizer_=tokenizer)

    @property
    def reads_pairs(self) -> bool:
        """Whether it judges pairs of texts, so that it is calibrated and compared on pairs too."""
        return self.parts.reads_pairs

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that it has tensors for: names in :data:`bertedge.heads.HEADS`."""
        return self.parts.heads

    @cached_property
    def parts(self) -> Parts:
        """Its heads, whether it has a pooler, and whether its decoder is tied."""
        found, shapes = self._found, self.source.shapes
        heads, pooler = heads_of(found), f"{names.POOLER}.weight" in shapes
        settings = replace(settings_of(found, heads), embedding=self.embedding)
        reads_pooler = (name for name in heads if HEADS[name].reads_pooler(getattr(settings, name, None)))
        without = [HEADS[name].words for name in reads_pooler if not pooler]
        if without:
            raise CheckpointError(f"{self.name}: has a {without[0]} head but no pooler", "take the complete checkpoint")
        tied = names.DECODER not in shapes or self._decoder_is_tied
        return Parts(heads, pooler=pooler, tied=tied, settings=settings)

    @property
    def _found(self) -> Found:
        return Found(config=self.config, tensors=self.source.shapes, raw=self.raw_config, classifiers=self.classifiers)

    @cached_property
    def _decoder_is_tied(self) -> bool:
        """Some tools store a tied matrix twice; if the bytes are equal, it is one table."""
        for of in (self.source.shapes, self.source.kinds):
            if of.get(names.DECODER) != of.get(names.WORD_EMBEDDINGS):
                return False
        if self.source.kinds.get(names.DECODER) not in FLOAT_TYPES:
            return False
        return bool(np.array_equal(self.source.load(names.DECODER), self.source.load(names.WORD_EMBEDDINGS)))

    @cached_property
    def weights_sha256(self) -> str:
        """A hash of the weights' files and of the changes to them, for provenance."""
        digest = hashlib.sha256()
        for path in self.source.files:
            digest.update(sha256(path).encode())
        digest.update(self.selection)
        return digest.hexdigest()

    @cached_property
    def model_sha256(self) -> str:
        """A hash of everything that decides the model's answers: weights, sizes, tokenizer, settings of the heads."""
        sizes = json.dumps(write_config(self.config), sort_keys=True)
        parts = [self.weights_sha256, sizes, self.tokenizer.sha256]
        if self.parts.settings != HeadSettings():
            parts.append(json.dumps(to_json(self.parts.settings), sort_keys=True))
        if self.embedding is not None:
            parts.extend(self.embedding.weights_sha256)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The folder's tokenizer.

        Raises:
            CheckpointError: it has more tokens than the model has embeddings for.
            UsageError: ``cased`` is given, but the casing cannot be set.
        """
        tokenizer = self.tokenizer_ or self._load_tokenizer()
        if self.embedding is not None:
            tokenizer.template.require_room(self.embedding.max_seq_length)
        if tokenizer.vocab_size > self.config.vocab_size:
            ids = {index: token for token, index in tokenizer.vocabulary().items() if index >= self.config.vocab_size}
            names = ", ".join(f"{ids[index]!r}" for index in sorted(ids)[:5])
            raise CheckpointError(
                f"{self.name}: the tokenizer has {tokenizer.vocab_size} tokens, the model {self.config.vocab_size}; "
                f"it has none for {names}{', ...' * (len(ids) > 5)}",
                "; ".join((*tokenizer.warnings, "use the tokenizer that the model was trained with")),
            )
        return tokenizer if self.cased is None else tokenizer.recased(self.cased)

    def _load_tokenizer(self) -> Tokenizer:
        if self.folder is None:
            raise FileError(f"{self.name}: has no tokenizer", "give one")
        for path in sorted(self.folder.iterdir()):
            if path.suffix in TOKENIZER_SUFFIXES:
                refuse_placeholder(path)
        loaded = Tokenizer.load(self.folder, max_length=self.config.max_length, vocab_size=self.config.vocab_size)
        # transformers gives models of RoBERTa's family no segments; their table has one row
        too_many = max(loaded.template.pair.segments) >= self.config.type_vocab_size > 0
        return loaded.in_one_segment() if too_many else loaded

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Load one tensor by its canonical name. A decoder bias that is not stored is zero.

        Raises:
            CheckpointError: a weight is not a finite number, or so large that sums over it would not be finite.
        """
        if name == names.DECODER_BIAS and name not in self.source.shapes:
            return np.zeros(self.config.vocab_size, dtype=np.float32)
        tensor = self.source.load(name)
        if not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{self.name}: {name} holds NaN or infinity", "training broke this checkpoint; take an earlier one"
            )
        largest = float(max(tensor.max(initial=0.0), -tensor.min(initial=0.0)))
        if largest > LARGEST_WEIGHT:
            raise CheckpointError(
                f"{self.name}: {name} holds numbers up to {largest:.2g}, expected at most {LARGEST_WEIGHT:g}",
                "training broke this checkpoint; take an earlier one",
            )
        return tensor

    def tensors(self) -> Iterable[tuple[str, NDArray[np.float32]]]:
        """All tensors of this model, one at a time."""
        for name in self.parts.shapes(self.config):
            yield name, self.tensor(name)

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Tensors in the file that the model does not read, such as a classifier's; no buffers and no tied copies."""
        expected = self.parts.shapes(self.config)
        read = {*expected, names.DECODER} if self._decoder_is_tied else {*expected}
        return tuple(sorted(name for name in self.source.shapes.keys() - read if not IGNORED.search(name)))

    @property
    def _about_classifiers(self) -> str:
        """How to name classifiers, if a tensor that is left out has the shape of one; otherwise empty."""
        hidden, shapes = self.config.hidden_size, self.source.shapes
        others = (hidden, self.config.vocab_size)  # outputs of a dense layer, and of a decoder
        weights = [name for name in self.left_out if name.endswith(".weight") and shapes[name][1:] == (hidden,)]
        found = [name for name in weights if shapes[name][0] not in others]
        return f"; if {found[0]} is a classifier of whole texts, name it in {HEADS_FILE}" if found else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for users of this checkpoint, a sentence each."""
        found = [told for head in self.parts.rows for told in head.warnings(self._found)]
        if self.left_out:
            count, listed = len(self.left_out), shown([*self.left_out], most=MANY)
            tensors, them = ("1 tensor is", "it") if count == 1 else (f"{count} tensors are", "them")
            found.append(
                f"{tensors} left out, because no part of {encoder_of(self.config).title} reads {them}: {listed}"
                + self._about_classifiers
            )
        with suppress(FileError, CheckpointError):  # code that needs the tokenizer reports why it cannot be read
            found += self.tokenizer.warnings
        return tuple(found)


def _config(path: Path, name: str) -> tuple[dict[str, Any], EncoderConfig]:
    """Read ``config.json``. If it cannot be used, the tensors in the folder may be those of another family."""
    raw = raw_config(path)
    try:
        return raw, read_config_file(path, raw)
    except CheckpointError:
        with suppress(FileError, MissingExtraError):
            expected = ENCODERS.get(str(raw.get("model_type")))
            own_names = expected.names if expected else ForeignNames()
            refuse_other_family(name, open_source(path.parent, own_names).shapes, expected)
        raise


def heads_of(found: Found) -> tuple[str, ...]:
    """The heads that a checkpoint has tensors for."""
    return tuple(name for name, head in HEADS.items() if head.is_in(found))


def settings_of(found: Found, heads: Iterable[str]) -> Any:
    """What a checkpoint says about these heads, as :data:`bertedge.heads.parts.HeadSettings`."""
    told = {name: HEADS[name].read_settings(found) for name in heads}
    return HeadSettings(**{name: own for name, own in told.items() if own is not None})
