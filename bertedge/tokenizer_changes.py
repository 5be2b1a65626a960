"""Changes to a serialized tokenizer: its casing, and the tokens of its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import tokenizers

from bertedge.errors import CheckpointError, UsageError
from bertedge.tokenizer_json import parts_of


def trimmed(serialized: str, kept: Sequence[int]) -> tokenizers.Tokenizer:
    """A serialized tokenizer with only the tokens ``kept``; the i-th of them gets the id i.

    Raises:
        CheckpointError: words that are left out could not be written with the remaining tokens.
    """
    raw, new = json.loads(serialized), {old: index for index, old in enumerate(kept)}
    model, kind = raw["model"], raw["model"].get("type")
    if kind not in ("WordPiece", "BPE", "Unigram"):
        raise CheckpointError(f"the tokenizer is {kind}, whose vocabulary cannot be trimmed", "leave out --keep-vocab")
    if kind == "Unigram":
        model["vocab"] = [model["vocab"][index] for index in kept if index < len(model["vocab"])]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {token: new[index] for token, index in model["vocab"].items() if index in new}
    if kind == "BPE":
        pairs = [_pair(merge) for merge in model["merges"]]
        model["merges"] = [pair for pair in pairs if {*pair, "".join(pair)} <= model["vocab"].keys()]
    ids = {token["content"]: new[token["id"]] for token in raw.get("added_tokens", ())}
    for token in raw.get("added_tokens", ()):
        token["id"] = ids[token["content"]]
    _renumber(raw.get("post_processor") or {}, ids)
    return tokenizers.Tokenizer.from_str(json.dumps(raw))


def merges_of(serialized: str) -> list[tuple[str, str]]:
    """The pairs of tokens that byte-pair encoding joins, the most frequent first; empty for other models."""
    return [_pair(merge) for merge in json.loads(serialized)["model"].get("merges", ())]


def _pair(merge: Any) -> tuple[str, str]:
    """A merge, in either form in which the library writes it."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def lowercased(serialized: str) -> tokenizers.Tokenizer:
    """A serialized tokenizer that first makes texts lower case. Accents are kept if they were kept before."""
    raw = json.loads(serialized)
    normalizer = raw.get("normalizer")
    if isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        if not normalizer.get("lowercase"):
            # by default, this normalizer strips accents when it makes text lower case
            accents = normalizer.get("strip_accents")
            raw["normalizer"] = {**normalizer, "lowercase": True, "strip_accents": bool(accents)}
    else:
        steps = [normalizer] if normalizer else []
        raw["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}
    return tokenizers.Tokenizer.from_str(json.dumps(raw))


def recased(serialized: str, cased: bool) -> tokenizers.Tokenizer:
    """A serialized tokenizer that keeps capital letters, or makes them lower case.

    Raises:
        UsageError: its normalizer makes letters lower case in a step that does other things too.
    """
    raw = json.loads(serialized)
    normalizer = raw["normalizer"] or {}
    if normalizer.get("type") == "BertNormalizer":
        raw["normalizer"] = {**normalizer, "lowercase": not cased}
        return tokenizers.Tokenizer.from_str(json.dumps(raw))
    if not cased:
        return lowercased(serialized)
    steps = [step for step in parts_of(raw["normalizer"], "normalizers") if step["type"] != "Lowercase"]
    raw["normalizer"] = {"type": "Sequence", "normalizers": steps} if steps else None
    backend = tokenizers.Tokenizer.from_str(json.dumps(raw))
    if backend.normalizer is not None and backend.normalizer.normalize_str("A") != "A":
        raise UsageError(
            "the casing cannot be set: a step of the tokenizer's normalizer changes capital letters and more",
            "leave out --cased and --uncased; tokenizer.json decides",
        )
    return backend


def without_added(serialized: str, size: int, keep: Collection[str]) -> tuple[tokenizers.Tokenizer, list[str]]:
    """A serialized tokenizer without the added tokens whose ids are ``size`` or more, and the removed tokens.

    Args:
        keep: added tokens that are not removed.
    """
    raw = json.loads(serialized)
    stay = {*keep, *raw["model"].get("vocab", ())} if isinstance(raw["model"].get("vocab"), dict) else set(keep)
    gone = [token["content"] for token in raw["added_tokens"] if token["id"] >= size and token["content"] not in stay]
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] not in gone]
    return tokenizers.Tokenizer.from_str(json.dumps(raw)), gone


def _renumber(processor: dict[str, Any], ids: dict[str, int]) -> None:
    """Give the special tokens of a post-processor their new ids, in every form in which the library writes them."""
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [ids[name] for name in token["tokens"]]
    for role in ("cls", "sep"):
        if role in processor:
            processor[role] = [processor[role][0], ids[processor[role][0]]]
    for inner in processor.get("processors", ()):
        _renumber(inner, ids)


def in_one_segment(serialized: str) -> tokenizers.Tokenizer:
    """A serialized tokenizer whose template gives every token the segment 0."""
    raw = json.loads(serialized)
    for part in parts_of(raw.get("post_processor"), "processors"):
        for piece in (*part.get("single", ()), *part.get("pair", ())):
            next(iter(piece.values()))["type_id"] = 0
    return tokenizers.Tokenizer.from_str(json.dumps(raw))
