"""The special and added tokens of a folder, by the rules of ``transformers`` 5.

They are in ``tokenizer_config.json`` (in five forms), ``special_tokens_map.json``, ``added_tokens.json`` and
``tokenizer.json``. If ``tokenizer_config.json`` has ``added_tokens_decoder``, the other three files are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import AddedToken

#: The special tokens that every tokenizer may have, in the order in which missing ones are added.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
Token = str | AddedToken
#: The largest id that is accepted; the largest vocabularies have a million tokens.
MOST_ID = 2**24


@dataclass(frozen=True, kw_only=True)
class AddedTokens:
    """The special and added tokens that a folder's files list.

    Attributes:
        named: a name such as ``mask_token`` -> the token; None if a file says that there is none.
        own: the same for names that only this tokenizer has, such as ``url_token``.
        extra: further special tokens.
        listed: id -> added token, as the files list them.
    """

    named: dict[str, Token | None]
    own: dict[str, Token]
    extra: tuple[Token, ...]
    listed: dict[int, AddedToken]

    def add_to(self, backend: tokenizers.Tokenizer) -> None:
        """Add them in the order of ``transformers``. Tokens that are not in the vocabulary get the next ids."""
        known = [token.content for token in backend.get_added_tokens_decoder().values()]
        tokens: list[Token] = [self.listed[index] for index in sorted(self.listed)]
        known += map(str, tokens)
        in_order = [*(self.named.get(name) for name in NAMED), *self.own.values(), *self.extra]
        tokens += [token for token in in_order if token is not None and str(token) not in known]
        special = {str(token) for token in (*self.named.values(), *self.own.values()) if token is not None}
        backend.add_tokens([_special(token) if str(token) in special else token_of(token) for token in tokens])


def read_added_tokens(
    settings: Mapping[str, Any],
    special_tokens_map: Mapping[str, Any],
    added_tokens: Mapping[str, Any],
    in_json: Iterable[Mapping[str, Any]],
    defaults: Mapping[str, str],
) -> AddedTokens:
    """Combine the entries of all files.

    Args:
        settings: ``tokenizer_config.json``.
        special_tokens_map: ``special_tokens_map.json``.
        added_tokens: ``added_tokens.json``.
        in_json: ``added_tokens`` of ``tokenizer.json``.
        defaults: the special tokens of the tokenizer's class.

    Raises:
        TypeError, ValueError: an entry is not a token.
    """
    merged = dict(settings)
    if "additional_special_tokens" in merged and not merged.get("extra_special_tokens"):
        merged["extra_special_tokens"] = merged.pop("additional_special_tokens")
    own = {key: merged.pop(key) for key in list(merged) if _is_own(key) and isinstance(merged[key], str)}
    own |= _popped_names(merged)
    if "added_tokens_decoder" in merged:
        entries = [(int(index), token_of(token)) for index, token in merged["added_tokens_decoder"].items()]
    else:
        merged |= _of_map(special_tokens_map, merged)
        own |= _popped_names(merged)
        entries = _of_file(added_tokens, merged)
        entries += [(int(token["id"]), token_of(token)) for token in in_json]
    for index, entry in entries:
        if index > MOST_ID:
            raise ValueError(f"the id of {entry.content[:60]!r} is larger than {MOST_ID}")
    marked = {key: merged[key] for key in merged if _is_own(key)}
    extra = merged.get("extra_special_tokens", merged.get("additional_special_tokens")) or ()
    return AddedTokens(
        named={**defaults, **_named(merged, entries)},
        own={key: token for key, raw in {**marked, **own}.items() if (token := _token_or_none(raw)) is not None},
        extra=tuple(token for raw in extra if (token := _token_or_none(raw)) is not None),
        listed=dict(entries),
    )


def _named(merged: Mapping[str, Any], entries: Iterable[tuple[int, AddedToken]]) -> dict[str, Token | None]:
    """The special tokens that the settings name, with the flags of their entry in the files, if there is one."""
    by_content = {token.content: token for _, token in entries}  # including those whose id a later entry has
    found = {name: _token_or_none(merged[name]) for name in NAMED if name in merged}
    known = {name: by_content.get(str(token), token) for name, token in found.items() if token is not None}
    return {**known, **{name: None for name in found if merged[name] is None}}


def token_of(raw: Any) -> AddedToken:
    """Make a token from an entry of a file: a string, or an object with ``content`` and flags.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(raw, AddedToken):
        return raw
    if isinstance(raw, str):
        return AddedToken(raw, special=True)
    if not isinstance(raw, Mapping) or not isinstance(raw.get("content"), str):
        raise TypeError(f"{raw!r:.60} is not a token")
    return AddedToken(raw["content"], **{flag: raw[flag] for flag in FLAGS if flag in raw})


def _special(token: Token) -> AddedToken:
    """The same token, marked as special."""
    token = token_of(token)
    if token.special:
        return token
    flags = {flag: getattr(token, flag) for flag in FLAGS}
    return AddedToken(token.content, **{**flags, "special": True})


def _is_own(key: str) -> bool:
    return key.endswith("_token") and key not in NAMED


def _popped_names(merged: dict[str, Any]) -> dict[str, Any]:
    """Remove and return ``extra_special_tokens`` if it maps names to tokens."""
    return merged.pop("extra_special_tokens") if isinstance(merged.get("extra_special_tokens"), dict) else {}


def _of_map(special_tokens_map: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``special_tokens_map.json``, which override ``tokenizer_config.json``."""
    stronger: dict[str, Any] = {}
    for key, value in special_tokens_map.items():
        if key == "extra_special_tokens" and isinstance(value, list):
            tokens = [token_of({**token, "special": True}) if isinstance(token, dict) else token for token in value]
            before = list(merged.get("extra_special_tokens") or ())
            stronger[key] = before + [token for token in tokens if token not in before]
        elif isinstance(value, dict) and key != "extra_special_tokens":
            stronger[key] = token_of({**value, "special": True})
        else:
            stronger[key] = value
    return stronger


def _of_file(added_tokens: Mapping[str, Any], merged: Mapping[str, Any]) -> list[tuple[int, AddedToken]]:
    """Ids and tokens of ``added_tokens.json``. Tokens that another file names are special."""
    elsewhere = [*(merged.get(name) for name in NAMED), *(merged.get("extra_special_tokens") or ())]
    special = {str(token) for token in elsewhere if isinstance(token, Token)}  # only strings, as in transformers
    return [
        (int(index), AddedToken(token, normalized=token not in special, special=token in special))
        for token, index in added_tokens.items()
    ]


def _token_or_none(raw: Any) -> Token | None:
    """A string unchanged, an object as a token; None for anything else."""
    if isinstance(raw, str):
        return raw or None
    try:
        return token_of(raw)
    except TypeError:
        return None
