"""Routes of Hugging Face's text-embeddings-inference, with its fields and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, WrapValidator

from bertedge.errors import UsageError
from bertedge.heads import BY_VERB
from bertedge.runtime import BertRuntime
from bertedge.serve.routes.example_bodies import example_texts, needed_options
from bertedge.serve.routes.route import Route, Task
from bertedge.serve.routes.text_lengths import require_fit
from bertedge.serve.routes.tokenize_texts import tokenize
from bertedge.serve.routes.vectors import VERB as EMBED
from bertedge.serve.routes.vectors import vectors_of
from bertedge.serve.schemas import Body, Count, Expected, Pair, Texts, TextsOrIds, texts_or_ids
from bertedge.texts import Pair as TextPair

TAG = "text-embeddings-inference"
RERANK, PREDICT = "rerank", "classify"
#: A text, a pair, or a list of both, each in a list of its own.
Sequences = Annotated[
    str | Pair | list[Annotated[list[str], Field(min_length=1, max_length=2)]],
    WrapValidator(Expected("a text, a pair [first, second], or a list such as [[text], [first, second]]")),
]


class CutBody(Body):
    """A request with texts that may be too long.

    ``truncation_direction`` must be the side on which the bundle's tokenizer cuts.
    """

    truncate: bool | None = Field(default=None, description="Whether texts that are too long are cut. Default: true.")
    truncation_direction: Literal["left", "Left", "right", "Right"] | None = None

    @property
    def cuts(self) -> bool:
        """Whether texts are cut."""
        return self.truncate is not False


class EmbedBody(CutBody):
    """A request for vectors."""

    inputs: TextsOrIds
    normalize: bool = Field(default=True, description="Whether vectors are scaled to length 1.")
    prompt_name: str | None = Field(default=None, description="Which prompt of the model is put in front of texts.")
    dimensions: Count | None = Field(default=None, description="How many of a vector's first numbers are kept.")


class RerankBody(CutBody):
    """A request for the relevance of texts to a query."""

    query: str
    texts: Annotated[list[str], WrapValidator(Expected("a list of texts"))]
    raw_scores: bool = Field(default=False, description="Scores before the model's sigmoid or other function.")
    return_text: bool = False


class PredictBody(CutBody):
    """A request for labels. A list of two texts is one pair; several texts are a list of lists."""

    inputs: Sequences
    raw_scores: bool = Field(default=False, description="The model's outputs before they become probabilities.")
    classifier: str | None = Field(default=None, description="Which classifier, if the model has several.")


class TokenizeBody(Body):
    """A request for tokens."""

    inputs: Texts
    add_special_tokens: bool = True
    prompt_name: str | None = Field(default=None, description="Which prompt of the model is put in front of texts.")


def check_side(model: BertRuntime, side: str | None) -> None:
    """Refuse to cut on another side than the tokenizer does.

    Raises:
        UsageError: it is another one.
    """
    own = model.tokenizer.truncation_side
    if side is not None and side.lower() != own:
        raise UsageError(f"truncation_direction is {side!r}, but this bundle cuts on the {own}", "leave it out")


def embed(model: BertRuntime, body: EmbedBody) -> NDArray[np.float32]:
    """Vectors, (texts, D)."""
    check_side(model, body.truncation_direction)
    return vectors_of(
        model,
        body.inputs,
        normalize=body.normalize,
        dimensions=body.dimensions,
        prompt_name=body.prompt_name,
        truncate=body.cuts,
    )


def rerank(model: BertRuntime, body: RerankBody) -> list[dict[str, Any]]:
    """The texts with their scores, the most relevant first."""
    check_side(model, body.truncation_direction)
    pairs = [(body.query, text) for text in body.texts]
    if not body.cuts:
        require_fit(model, RERANK, pairs)
    scores = model.relevance(pairs, raw_scores=body.raw_scores)
    order = np.argsort(-np.asarray(scores), kind="stable").tolist()
    texts = body.texts if body.return_text else None
    return [{"index": i, "score": scores[i]} | ({"text": texts[i]} if texts else {}) for i in order]


def predict(model: BertRuntime, body: PredictBody) -> list[Any]:
    """The labels of one text, or a list for each of several."""
    check_side(model, body.truncation_direction)
    alone, items = sequences(body.inputs)
    if not body.cuts:
        require_fit(model, PREDICT, items)
    answers = model.classify(items, classifier=body.classifier, raw_scores=body.raw_scores)
    labels = [[{"label": one.label, "score": one.score} for one in answer.scores] for answer in answers]
    return labels[0] if alone else labels


def sequences(inputs: Any) -> tuple[bool, list[str | TextPair]]:
    """Whether there is only one text or pair, and all texts and pairs."""
    if isinstance(inputs, str):
        return True, [inputs]
    if inputs and isinstance(inputs[0], str):
        return True, [(inputs[0], inputs[1])]
    return False, [own[0] if len(own) == 1 else (own[0], own[1]) for own in inputs]


_SCORE = {"type": "number"}
_LABELS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["label", "score"],
        "properties": {"label": {"type": "string"}, "score": _SCORE},
    },
}
_RANK = {
    "type": "object",
    "required": ["index", "score"],
    "properties": {"index": {"type": "integer", "minimum": 0}, "score": _SCORE, "text": {"type": "string"}},
}
_PLACE = {"type": ["integer", "null"], "minimum": 0}
_TOKEN = {
    "type": "object",
    "required": ["id", "text", "special", "start", "stop"],
    "properties": {
        "id": {"type": "integer", "minimum": 0},
        "text": {"type": "string"},
        "special": {"type": "boolean"},
        "start": _PLACE,
        "stop": _PLACE,
    },
}


def _rerank_example(model: BertRuntime) -> dict[str, Any]:
    texts, options = BY_VERB[RERANK].verb.parsed_example()
    return {"query": options["query"], "texts": texts}


def _predict_example(model: BertRuntime) -> dict[str, Any]:
    return {"inputs": [[text] for text in example_texts(model, PREDICT)], **needed_options(model, PREDICT)}


ROUTES = (
    Route(
        path="/embed",
        tag=TAG,
        summary="Vectors of texts.",
        schema=EmbedBody,
        tasks=lambda body: (Task(verb=EMBED, answer=embed),),
        items=lambda body: texts_or_ids(body.inputs),
        example=lambda model: {"inputs": example_texts(model, EMBED)},
        answers={"type": "array", "items": {"type": "array", "items": _SCORE}},
    ),
    Route(
        path="/rerank",
        tag=TAG,
        summary="Texts in the order of their relevance to a query.",
        schema=RerankBody,
        tasks=lambda body: (Task(verb=RERANK, answer=rerank),),
        items=lambda body: [(body.query, text) for text in body.texts],
        example=_rerank_example,
        answers={"type": "array", "items": _RANK},
    ),
    Route(
        path="/predict",
        tag=TAG,
        summary="The labels of texts, with their probabilities.",
        schema=PredictBody,
        tasks=lambda body: (Task(verb=PREDICT, answer=predict),),
        items=lambda body: sequences(body.inputs)[1],
        example=_predict_example,
        answers={"anyOf": [_LABELS, {"type": "array", "items": _LABELS}]},
    ),
    Route(
        path="/tokenize",
        tag=TAG,
        summary="The tokens of texts.",
        schema=TokenizeBody,
        tasks=lambda body: (Task(verb="", answer=tokenize),),
        items=lambda body: [body.inputs] if isinstance(body.inputs, str) else body.inputs,
        example=lambda model: {"inputs": example_texts(model, EMBED)},
        answers={"type": "array", "items": {"type": "array", "items": _TOKEN}},
    ),
)
