"""The tokens of texts, in the form of text-embeddings-inference."""

from __future__ import annotations

from typing import Any

from bertedge.errors import UsageError, nearest
from bertedge.runtime import BertRuntime
from bertedge.template import Token
from bertedge.tokenizer_json import library_errors

#: Tokens of an answer, at most: each takes much more memory than the characters it stands for.
MOST_TOKENS = 200_000


def tokenize(model: BertRuntime, body: Any) -> list[list[dict[str, Any]]]:
    """The tokens of each text, whole: nothing is cut.

    Args:
        body: a :class:`bertedge.serve.routes.tei_routes.TokenizeBody`.

    Raises:
        UsageError: the prompt is not known, or there are too many tokens for one answer.
    """
    prompt = _prompt(model, body.prompt_name)
    texts = [prompt + text for text in ([body.inputs] if isinstance(body.inputs, str) else body.inputs)]
    before, after = model.tokenizer.template.single.special if body.add_special_tokens else ((), ())
    with library_errors():
        found = model.tokenizer.bare.encode_batch(texts)
    if sum(len(own) for own in found) > MOST_TOKENS:
        raise UsageError(f"the texts have more than {MOST_TOKENS} tokens", "send fewer texts at once")
    start, end = ([_special(model, token) for token in special] for special in (before, after))
    return [
        [*start, *(_ordinary(text, *token) for token in zip(own.ids, own.offsets, strict=True)), *end]
        for text, own in zip(texts, found, strict=True)
    ]


def _prompt(model: BertRuntime, name: str | None) -> str:
    prompts = model.embedding.prompts if model.embedding else {}
    if name is not None and name not in prompts:
        raise UsageError(f"prompt_name {name[:60]!r} is not one of the model's prompts", nearest(name, prompts))
    return "" if name is None else prompts[name]


def _special(model: BertRuntime, token: Token) -> dict[str, Any]:
    text = model.tokenizer.token(token[0])
    return {"id": token[0], "text": text, "special": True, "start": None, "stop": None}


def _ordinary(text: str, index: int, place: tuple[int, int]) -> dict[str, Any]:
    """A token of the text; ``start`` and ``stop`` count characters."""
    start, stop = place
    return {"id": index, "text": text[start:stop], "special": False, "start": start, "stop": stop}
