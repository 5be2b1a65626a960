"""A route for each command that uses a bundle, from the table of heads: texts or pairs in, a row for each out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, create_model

from bertedge.errors import UsageError
from bertedge.heads import HEADS
from bertedge.heads.verb import Item, Option, Verb
from bertedge.runtime import BertRuntime
from bertedge.serve.routes.example_bodies import example_texts, needed_options
from bertedge.serve.routes.route import Route, Task
from bertedge.serve.routes.text_lengths import require_small
from bertedge.serve.schemas import LARGEST, Body, Pairs, Texts, TextsOrPairs

#: Where components of the document that describes the API are.
REFERENCE = "#/components/schemas/{model}"
PAIRS_HINT = 'for instance "pairs": [["One.", "Two."]]'


class ClosedBody(Body):
    """A request that may hold nothing else: these routes are of no other server."""

    model_config = ConfigDict(extra="forbid")


def verb_routes(taken: Iterable[str]) -> Iterator[Route]:
    """The routes of all commands.

    Args:
        taken: paths that other routes have.
    """
    for head in HEADS.values():
        path = f"/{head.verb.name}"
        if path not in set(taken):
            yield _route(path, head.verb)


def _route(path: str, verb: Verb) -> Route:
    task = Task(verb=verb.name, answer=partial(_rows, verb))
    return Route(
        path=path,
        tag="bertedge",
        summary=_what_it_gives(verb.help),
        schema=body_of(verb),
        tasks=lambda body: (task,),
        items=partial(items_of, verb),
        example=partial(_example, verb),
        answers=_answers(verb),
    )


def _what_it_gives(help_text: str) -> str:
    """The help of a command, without the word that is about terminals."""
    told = help_text.removeprefix("Print ")
    return told[:1].upper() + told[1:]


def body_of(verb: Verb) -> type[Body]:
    """The body of a command's route: its texts, and its options."""
    texts: dict[str, Any] = {}
    gives = any(option.gives for option in verb.options)
    if verb.rows.second == "never":
        texts["texts"] = (Texts, Field(description="A text, or a list of texts."))
    elif verb.rows.second == "optional":
        texts["texts"] = (TextsOrPairs, Field(description="A text, or a list of texts and pairs [first, second]."))
    else:
        told = "A pair of texts, or a list of pairs."
        texts["pairs"] = (
            (Pairs | None, Field(default=None, description=told)) if gives else (Pairs, Field(description=told))
        )
        if gives:
            texts["texts"] = (Texts | None, Field(default=None, description="Texts that another field makes pairs of."))
    options = {option.name: _field(option) for option in verb.options if option.of_rows or option.gives}
    name = "".join(map(str.capitalize, verb.name.split("-")))
    return create_model(f"{name}Body", __base__=ClosedBody, __doc__=verb.help, **texts, **options)


def _field(option: Option) -> Any:
    """An option as a field; texts that it gives may come otherwise, so none is required."""
    kind: Any = option.kind
    if kind is int:
        kind = Annotated[int, Field(ge=0 if option.least is None else int(option.least), le=LARGEST)]
    elif kind is float:
        kind = Annotated[float, Field(ge=option.least, allow_inf_nan=False)]
    optional = option.gives or option.default is None
    default = None if optional else option.default
    return (kind | None if optional else kind, Field(default, description=option.help))


def items_of(verb: Verb, body: Any) -> list[Item]:
    """The texts and pairs of a body.

    Raises:
        UsageError: texts that belong to a pair are missing, or there are too many of them.
    """
    given = {option.gives: getattr(body, option.name) for option in verb.options if option.gives}
    given = {side: text for side, text in given.items() if text is not None}
    texts, pairs = getattr(body, "texts", None), getattr(body, "pairs", None)
    texts = [texts] if isinstance(texts, str) else texts
    if pairs is not None:
        if texts is not None or given:
            raise UsageError("pairs and other texts are both given", "give only one of them")
        return [tuple(pair) for pair in ([pairs] if pairs and isinstance(pairs[0], str) else pairs)]
    if len(given) == 2 and texts is None:
        return [(given["text"], given["pair"])]
    if len(given) == 1 and texts is not None:
        if not all(isinstance(text, str) for text in texts):
            raise UsageError("a second text is given, but a text is a pair already", "give the pairs only")
        return [(given["text"], text) if "text" in given else (text, given["pair"]) for text in texts]
    if given or texts is None or verb.rows.second == "always":
        raise UsageError("the texts are not one pair, or a list of pairs", PAIRS_HINT)
    return [text if isinstance(text, str) else (text[0], text[1]) for text in texts]


def _rows(verb: Verb, model: BertRuntime, body: Any) -> list[Any]:
    """The columns of each answer."""
    options = {one.name: getattr(body, one.name) for one in verb.options if one.of_rows and not one.gives}
    require_small(model, verb.name, options)
    answers = verb.rows.answers(model, items_of(verb, body), **options)
    return [verb.rows.values(answer) for answer in answers]


def _example(verb: Verb, model: BertRuntime) -> dict[str, Any]:
    texts, (_, options) = example_texts(model, verb.name), verb.parsed_example()
    options |= needed_options(model, verb.name)
    given = any(option.gives and option.name in options for option in verb.options)
    if verb.rows.second == "always" and not given:
        return {"pairs": [texts], **options}
    return ({"texts": texts} if texts else {}) | options


def _answers(verb: Verb) -> dict[str, Any]:
    """The JSON schema of an answer."""
    columns: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for name, kind in zip(verb.rows.names, verb.rows.types, strict=True):
        columns[name] = {"type": "array"} if kind is np.ndarray else _schema_of(kind)
        shared |= columns[name].pop("$defs", {})
    row = {"type": "object", "required": list(columns), "properties": columns}
    return {"type": "array", "items": row, "$defs": shared}


def _schema_of(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode="serialization", ref_template=REFERENCE)
