"""Example bodies that a model can answer, from the example of each command's help page."""

from __future__ import annotations

from bertedge.heads import BY_VERB
from bertedge.runtime import BertRuntime

#: The mask in the examples of commands.
MASK = "[MASK]"


def example_texts(model: BertRuntime, verb: str) -> list[str]:
    """The texts of a command's example, with the model's own mask."""
    texts, _ = BY_VERB[verb].verb.parsed_example()
    return [text.replace(MASK, model.tokenizer.mask_token) for text in texts]


def needed_options(model: BertRuntime, verb: str) -> dict[str, str]:
    """The options without which a model does not know which of its parts is meant, with the first name of each."""
    if verb not in model.verbs:
        return {}
    choices = {one.name: one.choices(model) for one in BY_VERB[verb].verb.options if one.choices is not None}
    return {name: known[0] for name, known in choices.items() if len(known) > 1}
