"""``tokenizer.json`` as JSON: reading it, and checking for what the ``tokenizers`` library cannot handle.

Also the matching ``tokenizer_config.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from bertedge.added_tokens import MOST_ID
from bertedge.errors import CheckpointError, FileError
from bertedge.files import read_text
from bertedge.wordpiece import SPECIAL_TOKENS

FRESH = "take a fresh copy from the model's source"


def truncation_side(raw: dict[str, Any] | None) -> str:
    """The side on which ``tokenizer.json`` truncates."""
    truncation = (raw or {}).get("truncation")
    direction = truncation.get("direction") if isinstance(truncation, dict) else None
    return "left" if direction == "Left" else "right"


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Parse the file.

    Raises:
        FileError: it cannot be read, or is not a tokenizer.
    """
    try:
        raw = json.loads(read_text(path))  # Python can open any path, the library cannot
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not a tokenizer ({error})", FRESH) from error
    if not isinstance(raw, dict) or not isinstance(raw.get("model"), dict):
        raise FileError(f"{path}: is not a tokenizer (it has no model)", FRESH)
    return raw


def parts_of(raw: Any, key: str) -> list[dict[str, Any]]:
    """A part of a pipeline, or the parts of a sequence of them."""
    parts = raw.get(key) if isinstance(raw, dict) and raw.get("type") == "Sequence" else [raw]
    return [part for part in parts or () if isinstance(part, dict)]


def require_whole_templates(raw: dict[str, Any]) -> None:
    """Refuse a template that uses a special token without defining it; the library would panic at the first text.

    Raises:
        ValueError: names the token.
    """
    for part in parts_of(raw.get("post_processor"), "processors"):
        pieces = [*part.get("single", ()), *part.get("pair", ())] if part.get("type") == "TemplateProcessing" else []
        for piece in pieces:
            token = piece["SpecialToken"]["id"] if "SpecialToken" in piece else None
            if token is not None and token not in part["special_tokens"]:
                raise ValueError(f"its template does not define {token}")


def require_ordinary_ids(raw: dict[str, Any]) -> None:
    """Refuse ids that are too large, or that two tokens share.

    The library iterates over all numbers up to the largest id; if two tokens share an id, it loses one of them.

    Raises:
        ValueError: names the token.
    """
    model = raw.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    listed = raw.get("added_tokens")
    tokens = [token for token in listed if isinstance(token, dict)] if isinstance(listed, list) else []
    added = [(token.get("content"), token.get("id")) for token in tokens]
    found = vocab if isinstance(vocab, dict) and not _are_ordinary(vocab) else {}
    for token, index in (*found.items(), *added):
        if isinstance(index, int) and index > MOST_ID:
            raise ValueError(f"the id of {str(token)[:60]!r} is larger than {MOST_ID}")
    owners: dict[Any, str] = {}
    for token, index in found.items():
        if isinstance(index, int) and owners.setdefault(index, token) != token:
            raise ValueError(f"{owners[index][:60]!r} and {token[:60]!r} have one id, {index}")


def _are_ordinary(vocab: dict[str, Any]) -> bool:
    """Whether all ids are whole numbers, different and small enough; in a tenth of the time of looking at each."""
    ids = set(vocab.values()) if set(map(type, vocab.values())) == {int} else set()
    return 0 < len(ids) == len(vocab) and max(ids) <= MOST_ID


def ids_with_token(backend: tokenizers.Tokenizer) -> NDArray[np.int64]:
    """The ids that have a token, added tokens included, in ascending order; without the empty token of a blank line.

    The vocabulary as a dictionary would take megabytes and four times as long.
    """
    model, left = backend.model, backend.get_vocab_size(with_added_tokens=False)
    known = bytearray()
    while left and len(known) <= MOST_ID:
        token = model.id_to_token(len(known))
        left -= token is not None
        known.append(bool(token))
    for index in backend.get_added_tokens_decoder():
        known.extend(bytes(max(index + 1 - len(known), 0)))
        known[index] = 1
    return np.flatnonzero(np.frombuffer(known, dtype=np.uint8))


def state_of(backend: tokenizers.Tokenizer, part: str) -> Any:
    """A part of the pipeline, as JSON."""
    found = getattr(backend, part)
    return None if found is None else json.loads(found.__getstate__())


def tokenizer_settings(
    raw: dict[str, Any], *, max_length: int, special: Mapping[str, str], own_pipeline: bool, truncation_side: str
) -> dict[str, Any]:
    """``tokenizer_config.json`` for a ``tokenizer.json``, so that ``transformers`` reads both as bertedge does.

    Args:
        raw: ``tokenizer.json``.
        special: role, such as ``mask`` -> token.
        own_pipeline: whether ``raw`` defines the pipeline; otherwise BERT's class does.
    """
    added = {token["content"] for token in raw["added_tokens"]}
    roles = {f"{role}_token": token if token in added else None for role, token in special.items()}
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast" if own_pipeline else "BertTokenizer",
        "model_max_length": max_length,
    }
    if truncation_side != "right":
        settings["truncation_side"] = truncation_side
    if own_pipeline:
        roles = {name: token for name, token in roles.items() if token is not None}
    else:
        normalizer = raw.get("normalizer") or {}
        settings |= {
            "do_lower_case": bool(normalizer.get("lowercase", False)),
            "strip_accents": normalizer.get("strip_accents"),
            "tokenize_chinese_chars": bool(normalizer.get("handle_chinese_chars", True)),
        }
    return {**settings, **roles}


def tokenizer_sha256(serialized: str, special: Mapping[str, str], truncation_side: str) -> str:
    """A hash of ``tokenizer.json`` and of what decides the tokens of a text besides, where it is not BERT's."""
    told = {**special, "truncation_side": truncation_side}
    others = "" if told == {**SPECIAL_TOKENS, "truncation_side": "right"} else json.dumps(told, sort_keys=True)
    return hashlib.sha256((serialized + others).encode()).hexdigest()


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn the library's error about a text, such as a missing unknown token, into a :class:`CheckpointError`."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:  # the library raises a bare Exception
            raise
        raise CheckpointError(
            f"the tokenizer cannot encode this text ({error})", "use the tokenizer that the model was trained with"
        ) from error
