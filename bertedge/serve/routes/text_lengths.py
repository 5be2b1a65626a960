"""Limits of what clients may ask a model for: the length of texts that must not be cut, and the size of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertedge.errors import UsageError
from bertedge.heads import BY_VERB
from bertedge.runtime import BertRuntime
from bertedge.texts import Pair


def longest(model: BertRuntime, verb: str) -> int:
    """The most tokens of a text or a pair that a command of a model reads, special tokens included."""
    head = BY_VERB[verb]
    own = head.longest(model.bundle.manifest.parts.settings_of(head.name))
    return min(own or model.tokenizer.max_length, model.tokenizer.max_length)


def require_fit(model: BertRuntime, verb: str, items: Sequence[str | Pair], *, prompt: str = "") -> None:
    """Refuse texts and pairs that the model would cut.

    Args:
        prompt: the beginning of every text that the server adds.

    Raises:
        UsageError: one is too long; the message gives its index.
    """
    if not items:
        return
    most, frames = longest(model, verb), model.tokenizer.template
    pairs = [(prompt + item, "") if isinstance(item, str) else item for item in items]
    first, second = ([len(ids) for ids in model.tokenizer.token_ids_many(side)] for side in zip(*pairs, strict=True))
    for index, item in enumerate(items):
        special = (frames.single if isinstance(item, str) else frames.pair).count
        length = first[index] + second[index] + special
        if length > most:
            raise UsageError(
                f"the text at index {index} has {length} tokens, expected at most {most}",
                "shorten it, or set truncate to true",
            )


def require_small(model: BertRuntime, verb: str, options: Mapping[str, Any]) -> None:
    """Refuse numbers with which a short request would take much memory.

    Args:
        options: of the command, by name; those that are None are not given.

    Raises:
        UsageError: one is too large.
    """
    for option in BY_VERB[verb].verb.options:
        given, most = options.get(option.name), option.most(model) if option.most else None
        if most is not None and given is not None and given > most:
            raise UsageError(f"{option.name} is {given}, expected at most {most}", "ask for less at once")
