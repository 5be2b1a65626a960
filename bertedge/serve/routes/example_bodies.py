"""Example bodies that a model can answer, from the example of each command's help page."""

from __future__ import annotations

from typing import Any

from bertedge.heads.verb import Verb
from bertedge.runtime import BertRuntime
from bertedge.serve.routes.text_lengths import BY_VERB

#: The mask in the examples of commands.
MASK = "[MASK]"


def parsed_example(verb: Verb) -> tuple[list[str], dict[str, Any]]:
    """The example of a command: its texts, and its options by name."""
    kinds = {option.name: option.kind for option in verb.options}
    words, texts, options = iter(verb.example), [], {}
    for word in words:
        if word.startswith("--"):
            name = word.removeprefix("--").replace("-", "_")
            options[name] = kinds[name](next(words))
        else:
            texts.append(word)
    return texts, options


def example_texts(model: BertRuntime, verb: str) -> list[str]:
    """The texts of a command's example, with the model's own mask."""
    texts, _ = parsed_example(BY_VERB[verb].verb)
    return [text.replace(MASK, model.tokenizer.mask_token) for text in texts]


def needed_options(model: BertRuntime, verb: str) -> dict[str, str]:
    """The options without which a model does not know which of its parts is meant, with the first name of each."""
    if verb not in model.verbs:
        return {}
    choices = {one.name: one.choices(model) for one in BY_VERB[verb].verb.options if one.choices is not None}
    return {name: known[0] for name, known in choices.items() if len(known) > 1}
