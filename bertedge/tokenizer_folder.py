"""The tokenizer of a model's folder, built by the rules of ``transformers`` 5 (``AutoTokenizer``, fast).

``transformers`` chooses a class by ``tokenizer_class``. Its BERT class builds the pipeline from
``tokenizer_config.json``, and takes only the vocabulary and the added tokens from ``tokenizer.json``. Differences from
the files are listed in :attr:`FolderTokenizer.warnings`; what bertedge cannot reproduce is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, models, processors

from bertedge.added_tokens import AddedTokens, read_added_tokens
from bertedge.encoders import BERT, ENCODERS
from bertedge.errors import BertEdgeError, CheckpointError, FileError
from bertedge.files import FRESH_COPY
from bertedge.printable import shown
from bertedge.records import read_json
from bertedge.tokenizer_classes import KINDS, ignored, pipeline_of, plain_files, require_known
from bertedge.tokenizer_json import (
    FRESH,
    read_tokenizer_json,
    require_ordinary_ids,
    require_whole_templates,
    state_of,
    truncation_side,
)
from bertedge.tokenizer_pipelines import PIPELINES, Files, Pipeline
from bertedge.wordpiece import SPECIAL_TOKENS, read_merges, read_vocab

BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, kw_only=True)
class FolderTokenizer:
    """The tokenizer of a folder.

    Attributes:
        backend: without truncation and padding; not shared.
        special: role, such as ``mask`` -> token.
        own_pipeline: whether ``tokenizer.json`` defines the pipeline when it is saved; otherwise BERT's class does.
        truncation_side: ``right``, or ``left`` if the beginning of a long text is cut off.
        warnings: for the user, a sentence each.
    """

    backend: tokenizers.Tokenizer
    special: dict[str, str]
    own_pipeline: bool
    truncation_side: str
    warnings: tuple[str, ...]


def read_folder(folder: Path) -> FolderTokenizer:
    """Read the tokenizer of a folder.

    Raises:
        FileError: there is none, or a file is broken.
        CheckpointError: bertedge cannot read it as ``transformers`` does; the message says what is different.
    """
    json_file = folder / "tokenizer.json"
    settings = _object(folder / "tokenizer_config.json")
    name = _class_name(settings, _object(folder / "config.json"))
    there = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    pipeline = pipeline_of(name, where=folder)
    files = () if json_file.name in there else plain_files(pipeline, name, folder, there)
    require_known(folder / "tokenizer_config.json", settings)
    try:
        if not files or pipeline is None:
            return _Reader(folder, settings, pipeline, read_tokenizer_json(json_file)).from_json()
        return _Reader(folder, settings, pipeline, None).from_files(files)
    except BertEdgeError:
        raise
    except Exception as error:  # the library raises a bare Exception if it cannot parse or use something
        file = folder / (files[0] if files else json_file.name)
        raise FileError(f"{file}: is not a tokenizer ({error})", FRESH) from error


def _class_name(settings: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The class that ``transformers`` reads a folder with: that of its files, or else that of the model's family."""
    encoder = ENCODERS.get(str(config.get("model_type")))
    registered = encoder.tokenizer_class if encoder else BERT.tokenizer_class
    given = settings.get("tokenizer_class") or config.get("tokenizer_class")
    return given if isinstance(given, str) and KINDS.get(registered) is not None else registered


class _Reader:
    """Reads one folder."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], pipeline: Pipeline | None, raw: dict[str, Any] | None
    ) -> None:
        self.folder, self.settings, self.pipeline, self.raw = folder, settings, pipeline, raw
        self.warnings = ignored(settings)
        self.truncation_side = settings.get("truncation_side") or truncation_side(raw)
        try:
            self.added: AddedTokens = read_added_tokens(
                settings,
                _object(folder / "special_tokens_map.json"),
                _object(folder / "added_tokens.json"),
                (raw or {}).get("added_tokens") or (),
                pipeline.specials if pipeline else {},
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise FileError(f"{folder}: the added tokens cannot be read ({error})", FRESH) from error
        mask = self.added.named.get("mask_token")
        if pipeline and pipeline.strips_before_mask and isinstance(mask, str):
            self.added.named["mask_token"] = AddedToken(mask, lstrip=True, special=True)
        empty = [name for name in (pipeline.ends if pipeline else ()) if not self.named(name)]
        if empty:
            raise CheckpointError(
                f"{folder}: {empty[0]} is null in tokenizer_config.json",
                "the model needs it; set it to the model's token",
            )

    def named(self, name: str) -> str | None:
        """The content of a special token such as ``mask_token``."""
        token = self.added.named.get(name)
        return None if token is None else str(token)

    def from_files(self, files: tuple[str, ...]) -> FolderTokenizer:
        """Read ``vocab.txt``, or ``vocab.json`` and ``merges.txt``."""
        if len(files) == 2:
            vocab, merges = (self.folder / file for file in files)
            raw = {"model": {"vocab": _object(vocab), "merges": read_merges(merges)}}
            require_ordinary_ids(raw)
            return self._finished(self._built(raw))
        return self._from_lines(self.folder / files[0])

    def _from_lines(self, path: Path) -> FolderTokenizer:
        vocab = read_vocab(path)
        if next(iter(vocab), "").startswith(BYTE_ORDER_MARK):
            self.warnings.append(
                f"vocab.txt begins with a byte order mark, so its first token is not {next(iter(vocab))[1:]!r}; "
                "if it should be, save the file as UTF-8 without the mark"
            )
        unk = self._files({}).unk
        if unk not in vocab:
            raise FileError(f"{path}: no line is {unk}, so it is not a WordPiece vocabulary", FRESH_COPY)
        return self._finished(self._built({"model": {"vocab": vocab}}))

    def from_json(self) -> FolderTokenizer:
        """Read ``tokenizer.json``."""
        raw = self.raw or {}
        require_ordinary_ids(raw)
        if self.pipeline is None:
            require_whole_templates(raw)
            return self._finished(tokenizers.Tokenizer.from_str(json.dumps(raw)))
        model = raw["model"]
        # parsing is fast without the vocabulary; Unigram, and a model without a type, need it
        typed = model.get("type") not in (None, "Unigram")
        without = {
            **raw,
            "added_tokens": [],
            "model": {**model, "vocab": {}, **({"merges": []} if "merges" in model else {})},
        }
        parsed = tokenizers.Tokenizer.from_str(json.dumps(without if typed else raw))
        if not isinstance(parsed.model, self.pipeline.model):
            raise CheckpointError(
                f"{self.folder}: tokenizer.json is {type(parsed.model).__name__}, and its class takes "
                f"{self.pipeline.model.__name__}",
                "to read tokenizer.json unchanged, set tokenizer_class to PreTrainedTokenizerFast",
            )
        backend = self._built(raw)
        backend.post_processor = parsed.post_processor
        self._compare(parsed, backend)
        return self._finished(backend)

    def _files(self, raw: Mapping[str, Any]) -> Files:
        named = {name: str(token) for name, token in self.added.named.items() if token is not None}
        return Files(
            settings=self.settings, model=raw.get("model") or {}, normalizer=raw.get("normalizer"), named=named
        )

    def _built(self, raw: Mapping[str, Any]) -> tokenizers.Tokenizer:
        """The tokenizer as its class builds it, without added tokens and template."""
        assert self.pipeline is not None
        return self.pipeline.build(self._files(raw))

    def _finished(self, backend: tokenizers.Tokenizer) -> FolderTokenizer:
        """The complete tokenizer, with added tokens and template."""
        model = backend.model
        if isinstance(model, models.WordPiece | models.WordLevel) and model.token_to_id(model.unk_token) is None:
            raise CheckpointError(
                f"{self.folder}: the vocabulary has no {model.unk_token}, the token for unknown words",
                "correct unk_token",
            )
        backend.no_truncation()
        backend.no_padding()
        before = _added(backend)
        self.added.add_to(backend)
        self._compare_ids(before, backend)
        if self.pipeline and (self.pipeline.own_template or backend.post_processor is None):
            backend.post_processor = self.pipeline.template(backend, self._files({}))
        elif backend.post_processor is None:
            backend.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
        special = {role: self.named(f"{role}_token") or token for role, token in SPECIAL_TOKENS.items()}
        return FolderTokenizer(
            backend=backend,
            special=special,
            own_pipeline=self.pipeline is not PIPELINES["BertTokenizer"],
            truncation_side=self.truncation_side,
            warnings=tuple(self.warnings),
        )

    def _compare(self, parsed: tokenizers.Tokenizer, built: tokenizers.Tokenizer) -> None:
        """Warn about parts of ``tokenizer.json`` that the class ignores."""
        parts = [part for part in ("normalizer", "pre_tokenizer") if state_of(parsed, part) != state_of(built, part)]
        if isinstance(built.model, models.WordPiece):
            fields = ("continuing_subword_prefix", "max_input_chars_per_word")
            parts += [field for field in fields if getattr(parsed.model, field) != getattr(built.model, field)]
        if parts:
            self.warnings.append(
                f"tokenizer.json: its {' and '.join(parts)} differs from tokenizer_config.json and tokenizer_class; "
                "bertedge uses these two, as transformers does"
            )

    def _compare_ids(self, before: set[str], backend: tokenizers.Tokenizer) -> None:
        """Warn about added tokens whose id differs from a file's, and about new special tokens."""
        moved = [
            f"{token.content!r} {backend.token_to_id(token.content)} (for {index})"
            for index, token in sorted(self.added.listed.items())
            if backend.token_to_id(token.content) not in (index, None)
        ]
        if moved:
            self.warnings.append(f"added tokens get other ids than listed, as in transformers: {shown(moved)}")
        listed = {token.content for token in self.added.listed.values()}
        later = _added(backend) - before - listed
        ids_of = ((backend.token_to_id(token), token) for token in later if backend.model.token_to_id(token) is None)
        new = {index: token for index, token in ids_of if index is not None}
        if new:
            ids = [f"{new[index]!r} {index}" for index in sorted(new)]
            self.warnings.append(f"special tokens that are not in the vocabulary get new ids: {shown(ids)}")


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file, or if it does not hold an object."""
    raw = read_json(path) if path.is_file() else {}
    return raw if isinstance(raw, dict) else {}


def _added(backend: tokenizers.Tokenizer) -> set[str]:
    """The added tokens."""
    return {token.content for token in backend.get_added_tokens_decoder().values()}
