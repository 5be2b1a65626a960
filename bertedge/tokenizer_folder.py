"""The tokenizer of a model's folder, built by the rules of ``transformers`` 5 (``AutoTokenizer``, fast).

``transformers`` chooses a class by ``tokenizer_class``. Its BERT class builds the pipeline from
``tokenizer_config.json``, and takes only the vocabulary and the added tokens from ``tokenizer.json``. Differences from
the files are listed in :attr:`FolderTokenizer.warnings`; what bertedge cannot reproduce is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, pre_tokenizers, processors

from bertedge.added_tokens import AddedTokens, read_added_tokens
from bertedge.errors import BertEdgeError, CheckpointError, FileError
from bertedge.files import FRESH_COPY
from bertedge.printable import shown
from bertedge.records import read_json
from bertedge.tokenizer_classes import DEFAULT_SPECIALS, SWITCHES, Kind, ignored, kind_of, require_known
from bertedge.tokenizer_json import (
    FRESH,
    parts_of,
    read_tokenizer_json,
    require_ordinary_ids,
    require_whole_templates,
    state_of,
    truncation_side,
)
from bertedge.wordpiece import SPECIAL_TOKENS, add_template, bert_pipeline, read_vocab

BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, kw_only=True)
class FolderTokenizer:
    """The tokenizer of a folder.

    Attributes:
        backend: without truncation and padding; not shared.
        special: role, such as ``mask`` -> token.
        kind: how the class is read; see :mod:`bertedge.tokenizer_classes`.
        truncation_side: ``right``, or ``left`` if the beginning of a long text is cut off.
        warnings: for the user, a sentence each.
    """

    backend: tokenizers.Tokenizer
    special: dict[str, str]
    kind: Kind
    truncation_side: str
    warnings: tuple[str, ...]


def read_folder(folder: Path) -> FolderTokenizer:
    """Read the tokenizer of a folder.

    Raises:
        FileError: there is none, or a file is broken.
        CheckpointError: bertedge cannot read it as ``transformers`` does; the message says what is different.
    """
    json_file, vocab_file = folder / "tokenizer.json", folder / "vocab.txt"
    settings = _object(folder / "tokenizer_config.json")
    name = settings.get("tokenizer_class") or _object(folder / "config.json").get("tokenizer_class")
    has_json = json_file.is_file()
    if not has_json and not vocab_file.is_file():
        raise FileError(f"{folder}: no tokenizer.json and no vocab.txt", "copy one of them from the model's source")
    kind = kind_of(name if isinstance(name, str) else None, where=str(folder), has_json=has_json)
    require_known(folder / "tokenizer_config.json", settings)
    try:
        if has_json:
            return _Reader(folder, settings, kind, read_tokenizer_json(json_file)).from_json()
        return _Reader(folder, settings, kind, None).from_vocab(vocab_file)
    except BertEdgeError:
        raise
    except Exception as error:  # the library raises a bare Exception if it cannot parse or use something
        file = json_file if has_json else vocab_file
        raise FileError(f"{file}: is not a tokenizer ({error})", FRESH) from error


class _Reader:
    """Reads one folder."""

    def __init__(self, folder: Path, settings: dict[str, Any], kind: Kind, raw: dict[str, Any] | None) -> None:
        self.folder, self.settings, self.kind, self.raw = folder, settings, kind, raw
        self.warnings = ignored(settings)
        self.truncation_side = settings.get("truncation_side") or truncation_side(raw)
        try:
            self.added: AddedTokens = read_added_tokens(
                settings,
                _object(folder / "special_tokens_map.json"),
                _object(folder / "added_tokens.json"),
                (raw or {}).get("added_tokens") or (),
                DEFAULT_SPECIALS[kind],
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise FileError(f"{folder}: the added tokens cannot be read ({error})", FRESH) from error
        empty = [name for name in ("cls_token", "sep_token") if name in self.added.named and not self.named(name)]
        if empty and kind != "as_is":
            raise CheckpointError(
                f"{folder}: {empty[0]} is null in tokenizer_config.json",
                "the model needs it; set it to the model's token",
            )

    def named(self, name: str) -> str | None:
        """The content of a special token such as ``mask_token``."""
        token = self.added.named.get(name)
        return None if token is None else str(token)

    def from_vocab(self, path: Path) -> FolderTokenizer:
        vocab = read_vocab(path)
        if next(iter(vocab), "").startswith(BYTE_ORDER_MARK):
            self.warnings.append(
                f"vocab.txt begins with a byte order mark, so its first token is not {next(iter(vocab))[1:]!r}; "
                "if it should be, save the file as UTF-8 without the mark"
            )
        if self._unk not in vocab:
            raise FileError(f"{path}: no line is {self._unk}, so it is not a WordPiece vocabulary", FRESH_COPY)
        return self._finished(self._bert(vocab))

    def from_json(self) -> FolderTokenizer:
        raw = self.raw or {}
        require_ordinary_ids(raw)
        if self.kind == "as_is":
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
        expected = models.WordPiece if self.kind == "bert" else models.Unigram
        if not isinstance(parsed.model, expected):
            raise CheckpointError(
                f"{self.folder}: tokenizer.json is {type(parsed.model).__name__}, and its class takes "
                f"{expected.__name__}",
                "to read tokenizer.json unchanged, set tokenizer_class to PreTrainedTokenizerFast",
            )
        backend = self._bert(model["vocab"]) if self.kind == "bert" else self._xlm_roberta(parsed, model["vocab"])
        self._compare(parsed, backend)
        return self._finished(backend)

    @property
    def _unk(self) -> str:
        return self.named("unk_token") or SPECIAL_TOKENS["unk"]

    def _bert(self, vocab: dict[str, int]) -> tokenizers.Tokenizer:
        switches = {
            key: default if (said := self.settings.get(key)) is None else said for key, default in SWITCHES.items()
        }
        return bert_pipeline(
            models.WordPiece(vocab, unk_token=self._unk),
            lowercase=bool(switches["do_lower_case"]),
            strip_accents=switches["strip_accents"],
            chinese=bool(switches["tokenize_chinese_chars"]),
        )

    def _xlm_roberta(self, parsed: tokenizers.Tokenizer, vocab: list[list[Any]]) -> tokenizers.Tokenizer:
        """SentencePiece's Unigram as in XLM-RoBERTa (Conneau et al. 2020); multilingual BERTs use it too."""
        backend = tokenizers.Tokenizer(models.Unigram([tuple(entry) for entry in vocab], unk_id=3, byte_fallback=False))
        for normalizer in parts_of((self.raw or {}).get("normalizer"), "normalizers"):
            if normalizer.get("type") == "Precompiled":
                alone = tokenizers.Tokenizer(models.WordPiece({}, unk_token="")).to_str()
                backend.normalizer = tokenizers.Tokenizer.from_str(
                    json.dumps({**json.loads(alone), "normalizer": normalizer})
                ).normalizer
        scheme = "always" if self.settings.get("add_prefix_space", True) else "never"
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
        )
        backend.decoder = tokenizers.decoders.Metaspace(prepend_scheme=scheme)
        return backend

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
        if self.kind == "bert":
            add_template(backend, self.named("cls_token") or "", self.named("sep_token") or "")
        elif self.kind == "xlm_roberta":
            start, end = self.named("bos_token") or "", self.named("eos_token") or ""
            backend.post_processor = processors.TemplateProcessing(
                single=[start, "$A", end],
                pair=[start, "$A", end, end, "$B", end],
                special_tokens=[(token, backend.token_to_id(token)) for token in (start, end)],
            )
        elif backend.post_processor is None:
            backend.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
        special = {role: self.named(f"{role}_token") or token for role, token in SPECIAL_TOKENS.items()}
        return FolderTokenizer(
            backend=backend,
            special=special,
            kind=self.kind,
            truncation_side=self.truncation_side,
            warnings=tuple(self.warnings),
        )

    def _compare(self, parsed: tokenizers.Tokenizer, built: tokenizers.Tokenizer) -> None:
        """Warn about parts of ``tokenizer.json`` that the class ignores."""
        parts = [part for part in ("normalizer", "pre_tokenizer") if state_of(parsed, part) != state_of(built, part)]
        if self.kind == "bert":
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
