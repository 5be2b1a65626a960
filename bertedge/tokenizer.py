"""Text to token ids and back, on the ``tokenizers`` library.

A folder's tokenizer is read as ``transformers`` reads it (:mod:`bertedge.tokenizer_folder`); :meth:`Tokenizer.train`
makes a new WordPiece tokenizer (Wu et al. 2016; Devlin et al. 2019, section 3).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import normalizers

from bertedge.encoding import Encoding, about_capitals, about_cut, about_unknown, continuing, is_unknown
from bertedge.errors import CheckpointError, TruncationWarning, UnknownTextWarning
from bertedge.files import write_text
from bertedge.printable import shown
from bertedge.records import write_json
from bertedge.template import Template
from bertedge.texts import Pair, texts_or_pairs
from bertedge.tokenizer_changes import in_one_segment, lowercased, merges_of, recased, trimmed, without_added
from bertedge.tokenizer_folder import read_folder
from bertedge.tokenizer_json import ids_with_token, library_errors, tokenizer_settings, tokenizer_sha256
from bertedge.wordpiece import SPECIAL_TOKENS, learn

#: Texts that most vocabularies have tokens for.
EXAMPLES = ("a", "A", "1")


class Tokenizer:
    """Text to token ids and back. It never changes after it is made, so threads may share it.

    Args:
        backend: a tokenizer of the ``tokenizers`` library. The caller must not change it afterwards.
        max_length: the largest number of tokens in an encoded text, special tokens included.
        special: role (``mask``, ``cls``, ...) -> token, for tokens that differ from BERT's.
        own_pipeline: whether ``tokenizer.json`` defines the pipeline; otherwise BERT's class does.
        truncation_side: the side on which a text that is too long is cut, ``right`` or ``left``.
        warnings: for the user, a sentence each: how the files were read.

    Attributes:
        template: the special tokens around a text and around a pair.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        max_length: int = 512,
        special: dict[str, str] | None = None,
        own_pipeline: bool = False,
        truncation_side: str = "right",
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._backend = backend
        self.max_length = max_length
        self.special = {**SPECIAL_TOKENS, **(special or {})}
        self.truncation_side, self._warnings = truncation_side, warnings
        self._settings: dict[str, Any] = {"max_length": max_length, "special": self.special}
        self._settings |= {"own_pipeline": own_pipeline, "truncation_side": truncation_side}
        missing = [t for role, t in self.special.items() if role != "unk" and backend.token_to_id(t) is None]
        if missing:
            raise CheckpointError(
                f"the tokenizer has no {', '.join(missing)}",
                "; ".join(warnings) or "use the tokenizer that the model was trained with",
            )
        backend.no_padding()
        backend.no_truncation()
        self.template = Template.learn(backend, (self.mask_token, *EXAMPLES))
        self.template.require_room(max_length)
        self.template.require_known(self.vocab_size)
        backend.enable_truncation(max_length, direction=truncation_side)

    @classmethod
    def load(cls, folder: Path, *, max_length: int = 512, vocab_size: int | None = None) -> Tokenizer:
        """Read a folder's ``tokenizer.json`` or ``vocab.txt``, and the settings for casing and added tokens.

        Args:
            vocab_size: the number of ids that the model has; added tokens with larger ids are read as ordinary text.

        Raises:
            FileError: neither file is there, or it cannot be parsed.
            CheckpointError: it cannot be read as ``transformers`` reads it; see :mod:`bertedge.tokenizer_folder`.
        """
        found = read_folder(folder)
        tokenizer = cls(
            found.backend,
            max_length=max_length,
            special=found.special,
            own_pipeline=found.own_pipeline,
            truncation_side=found.truncation_side,
            warnings=found.warnings,
        )
        return tokenizer if vocab_size is None else tokenizer._without_ids_from(vocab_size)

    @classmethod
    def train(
        cls, lines: Iterable[str], *, vocab_size: int, lowercase: bool = True, max_length: int = 512
    ) -> Tokenizer:
        """Learn a vocabulary of at most ``vocab_size`` tokens; see :func:`bertedge.wordpiece.learn`."""
        return cls(learn(lines, vocab_size=vocab_size, lowercase=lowercase), max_length=max_length)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``.

        The second file repeats length and casing, because ``transformers`` prefers its values to those of the first.
        """
        write_text(folder / "tokenizer.json", self._json)
        write_json(folder / "tokenizer_config.json", tokenizer_settings(json.loads(self._json), **self._settings))

    @cached_property
    def _json(self) -> str:
        """``tokenizer.json`` without the truncation that bertedge sets, so that other tools see the original."""
        copy = tokenizers.Tokenizer.from_str(self._backend.to_str())
        copy.no_truncation()
        return copy.to_str()

    @cached_property
    def bare(self) -> tokenizers.Tokenizer:
        """A copy of the backend that truncates nothing and adds no special token. The caller must not change it."""
        copy = tokenizers.Tokenizer.from_str(self._json)
        copy.post_processor = None
        return copy

    def with_special(self, text: tokenizers.Encoding, pair: tokenizers.Encoding | None) -> tokenizers.Encoding:
        """A text, or a pair, of :attr:`bare` with the special tokens around it; it has to fit into ``max_length``."""
        return self._backend.post_process(text, pair)

    def _changed(self, backend: tokenizers.Tokenizer, **changes: Any) -> Tokenizer:
        """A copy of this tokenizer with the given changes."""
        return Tokenizer(backend, **{**self._settings, "warnings": self._warnings, **changes})

    def recased(self, cased: bool) -> Tokenizer:
        """A copy that keeps capital letters, or not; see :func:`bertedge.tokenizer_changes.recased`."""
        return self._changed(recased(self._json, cased))

    def _without_ids_from(self, size: int) -> Tokenizer:
        """A copy in which added tokens with ids of ``size`` or more are ordinary text."""
        if self.vocab_size <= size:
            return self
        backend, names = without_added(self._json, size, keep=self.special.values())
        if not names:
            return self
        told = f"{len(names)} added tokens have no embedding in the model and are read as ordinary text: "
        return self._changed(backend, warnings=(*self._warnings, told + shown([*map(repr, names)])))

    @property
    def lowercases(self) -> bool:
        """Whether text is made lower case first."""
        return self._normalized("A") == "a"

    @property
    def strips_accents(self) -> bool:
        """Whether accents are removed from letters first."""
        return self._normalized("\u00e9") == "e"

    def _normalized(self, text: str) -> str:
        normalizer: normalizers.Normalizer | None = self._backend.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user, a sentence each: how the files were read, and whether casing and vocabulary fit."""
        told = about_capitals(self.vocabulary().keys() - set(self.added.values())) if self.lowercases else None
        return self._warnings if told is None else (*self._warnings, told)

    @property
    def added(self) -> dict[int, str]:
        """Id -> token of the tokens that are matched in a text before anything else; special tokens are among them."""
        return {index: token.content for index, token in self._backend.get_added_tokens_decoder().items()}

    @property
    def sha256(self) -> str:
        """A hash of everything that decides the tokens of a text, except the limit of its length."""
        return tokenizer_sha256(self._json, self.special, self.truncation_side)

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The ids that have a token, added tokens included, in ascending order."""
        return ids_with_token(self._backend)

    @property
    def vocab_size(self) -> int:
        """The largest id plus one. Some smaller ids may have no token."""
        return int(self.ids[-1]) + 1

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, without the empty token of a blank line."""
        found = self._backend.get_vocab()
        found.pop("", None)
        return found

    @property
    def continuation_prefix(self) -> str | None:
        """The prefix of tokens that continue a word, such as ``##``; None if the tokenizer has no such prefix."""
        return getattr(self._backend.model, "continuing_subword_prefix", None)

    def continuation(self, vocab_size: int) -> NDArray[np.bool_]:
        """True at the ids of tokens that continue the word before them, shape (vocab_size,).

        If the tokenizer has no prefix, its decoder is used: it puts no space before such tokens.
        """
        flags = np.zeros(vocab_size, dtype=np.bool_)
        flags[continuing(self._backend, self.vocabulary(), self.added)] = True
        return flags

    def trimmed(self, kept: Sequence[int]) -> Tokenizer:
        """A copy with only the tokens ``kept``; see :func:`bertedge.tokenizer_changes.trimmed`."""
        return self._changed(trimmed(self._json, kept))

    @property
    def merges(self) -> list[tuple[str, str]]:
        """See :func:`bertedge.tokenizer_changes.merges_of`."""
        return merges_of(self._json)

    def lowercased(self) -> Tokenizer:
        """A copy of this tokenizer that makes text lower case first."""
        return self._changed(lowercased(self._json))

    def in_one_segment(self) -> Tokenizer:
        """A copy of this tokenizer whose second text of a pair has the segment 0 too."""
        return self._changed(in_one_segment(self._json), own_pipeline=True)

    def with_max_length(self, max_length: int) -> Tokenizer:
        """A copy of this tokenizer with another ``max_length``."""
        return self._changed(tokenizers.Tokenizer.from_str(self._json), max_length=max_length)

    def id_of(self, role: str) -> int:
        """The id of ``pad``, ``unk``, ``cls``, ``sep`` or ``mask``."""
        token = self.special[role]
        found = self._backend.token_to_id(token)
        if found is None:
            raise CheckpointError(f"the tokenizer has no {token}", "use the tokenizer that the model was trained with")
        return found

    @property
    def mask_token(self) -> str:
        """The token that stands for a hidden word, such as ``[MASK]``."""
        return self.special["mask"]

    def encode(self, text: str, pair: str | None = None) -> Encoding:
        """Encode a text or a pair of texts; see :meth:`encode_many`."""
        return self.encode_many([text if pair is None else (text, pair)])[0]

    def encode_many(self, texts: Iterable[str | Pair], *, prompt: str = "") -> list[Encoding]:
        """Encode texts, or pairs of texts, with their special tokens. An empty text has only these.

        Args:
            prompt: the beginning of every text that the program added; a text needs a known word after it.

        Warns:
            TruncationWarning: how many texts were longer than ``max_length`` and were cut (of a pair, the longer text).
            UnknownTextWarning: how many texts, or texts of a pair, consist of unknown words only.

        Raises:
            UsageError: an item is not a text (None, NaN, bytes) or not Unicode; the message gives its index.
        """
        checked = texts_or_pairs(texts)
        with library_errors():
            found = self._backend.encode_batch(checked)
        encodings = [Encoding.of(one) for one in found]
        if cut := sum(encoding.truncated for encoding in encodings):
            told = about_cut(cut, len(found), self.max_length, self.truncation_side)
            warnings.warn(TruncationWarning(told, cut), stacklevel=2)
        if unknown := self.without_words(found, prompt):
            told = about_unknown(unknown, len(found))
            warnings.warn(UnknownTextWarning(told, len(unknown)), stacklevel=2)
        return encodings

    def without_words(self, found: Sequence[tokenizers.Encoding], prompt: str = "") -> list[int]:
        """The indices of texts without a known word; words of the prompt do not count."""
        unknown_id = self._backend.token_to_id(self.special["unk"])
        silent = {self.id_of("pad"), self.id_of("mask"), *self.template.special_ids}
        silent |= {token for token in (self.token_ids(prompt) if prompt else ()) if token != unknown_id}
        return [index for index, encoding in enumerate(found) if is_unknown(encoding, unknown_id, silent)]

    def token_ids(self, text: str) -> list[int]:
        """The ids of a text, without special tokens and without a length limit."""
        return self.token_ids_many([text])[0]

    def token_ids_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special tokens and without a length limit."""
        with library_errors():  # "fast" omits the position of each token in the text
            return [e.ids for e in self.bare.encode_batch_fast(list(texts))]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of a list of ids; the tokens of a word are joined."""
        return self._backend.decode(list(ids), skip_special_tokens=skip_special)

    def token(self, token_id: int) -> str:
        """The token with this id, as the vocabulary writes it."""
        return self._backend.id_to_token(token_id) or self.special["unk"]
