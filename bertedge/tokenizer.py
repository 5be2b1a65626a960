"""WordPiece (Wu et al. 2016; Devlin et al. 2019, section 3) on the ``tokenizers`` library.

Any ``tokenizer.json`` is taken as it is; a bare ``vocab.txt`` becomes BERT's WordPiece; :meth:`Tokenizer.train` makes
a new one.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bertedge.errors import BertEdgeError, CheckpointError, FileError, TruncationWarning, UsageError
from bertedge.records import read_json, write_json, write_text
from bertedge.wordpiece import SPECIAL_TOKENS, from_vocab, learn, lowercased, trimmed

#: Half of a surrogate pair: what Python makes of bytes that are not UTF-8; it stands for no character.
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """One encoded text or pair of texts.

    Attributes:
        input_ids: WordPiece ids with ``[CLS]`` and ``[SEP]``, length S.
        token_type_ids: 0 for the first segment, 1 for the second, length S.
        special_tokens: True at ``[CLS]`` and ``[SEP]``, length S.
        truncated: whether the end of the text was cut off.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    special_tokens: list[bool]
    truncated: bool


class Tokenizer:
    """Text to WordPiece ids and back.

    Args:
        backend: a tokenizer of the ``tokenizers`` library.
        max_length: the most tokens that an encoding may have, special tokens included.
        special: role (``mask``, ``cls``, ...) -> token, where they are not BERT's own.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, *, max_length: int = 512, special: dict[str, str] | None = None
    ) -> None:
        self._backend = backend
        self.max_length = max_length
        self.special = {**SPECIAL_TOKENS, **(special or {})}
        missing = [t for role, t in self.special.items() if role != "unk" and backend.token_to_id(t) is None]
        if missing:
            raise CheckpointError(
                f"the tokenizer has no {', '.join(missing)}",
                "BERT needs [PAD], [CLS], [SEP] and [MASK] in its vocabulary",
            )
        backend.no_padding()
        backend.enable_truncation(max_length)

    @classmethod
    def load(cls, folder: Path, *, max_length: int = 512) -> Tokenizer:
        """Read ``tokenizer.json``, or ``vocab.txt``, from a folder.

        Raises:
            FileError: neither file is there, or it cannot be parsed.
        """
        settings = _tokenizer_config(folder)
        special = _special_tokens(settings)
        json_file, vocab_file = folder / "tokenizer.json", folder / "vocab.txt"
        if json_file.is_file():
            return cls(_parse(json_file), max_length=max_length, special=special)
        if vocab_file.is_file():
            return cls(from_vocab(vocab_file, settings, special), max_length=max_length, special=special)
        raise FileError(f"{folder}: no tokenizer.json and no vocab.txt", "copy one of them from the model's source")

    @classmethod
    def train(
        cls, lines: Iterable[str], *, vocab_size: int, lowercase: bool = True, max_length: int = 512
    ) -> Tokenizer:
        """Learn a vocabulary of at most ``vocab_size`` pieces; see :func:`bertedge.wordpiece.learn`."""
        return cls(learn(lines, vocab_size=vocab_size, lowercase=lowercase), max_length=max_length)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` without our truncation setting, so that other tools find it as it was.

        ``tokenizer_config.json`` repeats length and casing: ``transformers`` trusts it more than the tokenizer itself.
        """
        text = self._json()
        write_text(folder / "tokenizer.json", text)
        normalizer = json.loads(text).get("normalizer") or {}
        settings = {
            "tokenizer_class": "BertTokenizer",
            "model_max_length": self.max_length,
            "do_lower_case": bool(normalizer.get("lowercase", False)),
            "strip_accents": normalizer.get("strip_accents"),
            "tokenize_chinese_chars": bool(normalizer.get("handle_chinese_chars", True)),
            **{f"{role}_token": token for role, token in self.special.items()},
        }
        write_json(folder / "tokenizer_config.json", settings)

    def _json(self) -> str:
        """``tokenizer.json`` without our truncation setting."""
        self._backend.no_truncation()
        try:
            return self._backend.to_str()
        finally:
            self._backend.enable_truncation(self.max_length)

    @property
    def sha256(self) -> str:
        """A hash of everything that decides about the pieces of a text."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    @cached_property
    def vocab_size(self) -> int:
        """The largest id, added tokens included, and one; a file that lists a piece twice leaves a hole."""
        return max(self.vocabulary().values()) + 1

    def vocabulary(self) -> dict[str, int]:
        """Piece -> id."""
        return self._backend.get_vocab()

    def continuation(self, vocab_size: int) -> NDArray[np.bool_]:
        """True at the ids of pieces that go on with the word before them (``##``), shape (vocab_size,)."""
        prefix = getattr(self._backend.model, "continuing_subword_prefix", None) or "##"
        flags = np.zeros(vocab_size, dtype=np.bool_)
        flags[[index for piece, index in self.vocabulary().items() if piece.startswith(prefix)]] = True
        return flags

    def indispensable(self) -> set[int]:
        """The ids that every text can be spelt with: special tokens, and single characters in both positions."""
        letters = {
            index for piece, index in self.vocabulary().items() if len(piece.removeprefix("##")) == 1 or piece == "##"
        }
        added = set(self._backend.get_added_tokens_decoder())
        return letters | added | {self.id_of(role) for role in SPECIAL_TOKENS}

    def trimmed(self, kept: Sequence[int]) -> Tokenizer:
        """The same tokenizer with some of its pieces only; the i-th of ``kept`` gets the id i.

        Raises:
            CheckpointError: it is no WordPiece tokenizer.
        """
        ids = {self.token(old): new for new, old in enumerate(kept)}
        backend = trimmed(self._json(), ids)
        return Tokenizer(backend, max_length=self.max_length, special=self.special)

    def lowercased(self) -> Tokenizer:
        """The same tokenizer on lower-case text."""
        return Tokenizer(lowercased(self._json()), max_length=self.max_length, special=self.special)

    def with_max_length(self, max_length: int) -> Tokenizer:
        """The same tokenizer with another limit of tokens."""
        backend = tokenizers.Tokenizer.from_str(self._json())
        return Tokenizer(backend, max_length=max_length, special=self.special)

    def id_of(self, role: str) -> int:
        """The id of ``pad``, ``unk``, ``cls``, ``sep`` or ``mask``."""
        found = self._backend.token_to_id(self.special[role])
        if found is None:
            raise CheckpointError(
                f"the tokenizer has no {self.special[role]}", "use the tokenizer that the model was trained with"
            )
        return found

    @property
    def mask_token(self) -> str:
        """The word that stands for a hidden word, ``[MASK]`` in BERT."""
        return self.special["mask"]

    def encode(self, text: str, pair: str | None = None) -> Encoding:
        """``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``; see :meth:`encode_many`."""
        return self.encode_many([text if pair is None else (text, pair)])[0]

    def encode_many(self, texts: Sequence[str | tuple[str, str]]) -> list[Encoding]:
        """Encode texts, or pairs of texts.

        Warns:
            TruncationWarning: how many texts were longer than ``max_length`` and lost their end (of a pair: of the
                longer half).

        Raises:
            UsageError: a text is empty or not Unicode.
        """
        for text in texts:
            parts = text if isinstance(text, (tuple, list)) else (text,)
            if not all(isinstance(part, str) and part.strip() for part in parts):
                raise UsageError("the text is empty", "give at least one word")
            if any(SURROGATE.search(part) for part in parts):
                raise UsageError("the text is not Unicode: it holds half of a surrogate pair", "decode it as UTF-8")
        encodings = [
            Encoding(
                input_ids=e.ids,
                token_type_ids=e.type_ids,
                special_tokens=[bool(flag) for flag in e.special_tokens_mask],
                truncated=bool(e.overflowing),
            )
            for e in self._backend.encode_batch(list(texts))
        ]
        cut = sum(e.truncated for e in encodings)
        if cut:
            warnings.warn(
                f"{cut} of {len(encodings)} texts had more than {self.max_length} tokens; their end was cut off",
                TruncationWarning,
                stacklevel=2,
            )
        return encodings

    def pieces(self, text: str) -> list[int]:
        """The WordPiece ids of a text without ``[CLS]`` and ``[SEP]`` and without a length limit."""
        return self.pieces_many([text])[0]

    def pieces_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The WordPiece ids of each text without ``[CLS]`` and ``[SEP]`` and without a length limit."""
        self._backend.no_truncation()
        try:
            # "fast" leaves out where in the text each piece stands, which nobody asks for here
            return [e.ids for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        finally:
            self._backend.enable_truncation(self.max_length)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of a list of ids; ``##`` pieces are joined to their word."""
        return self._backend.decode(list(ids), skip_special_tokens=skip_special)

    def token(self, token_id: int) -> str:
        """The piece with this id, as it stands in the vocabulary."""
        return self._backend.id_to_token(token_id) or self.special["unk"]


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json`` where there is one; the special tokens' names and the casing are in it."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    return settings if isinstance(settings, dict) else {}


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    """Role -> token, where ``tokenizer_config.json`` names them: as a string, or as an object around one."""
    special = {}
    for role in SPECIAL_TOKENS:
        token = settings.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token:
            special[role] = token
    return special


def _parse(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))  # by Python, which can open any path
    except BertEdgeError:
        raise
    except Exception as error:  # the library raises bare Exception for files that it cannot parse
        raise FileError(f"{path}: is not a tokenizer ({error})", "take a fresh copy from the model's source") from error
