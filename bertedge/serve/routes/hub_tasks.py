"""``POST /``: the tasks of ``InferenceClient`` of huggingface_hub, with the server's address as its model.

Such a client does not name its task. It shows in the form of the inputs, in the parameters, and in what bundles can do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bertedge.errors import UsageError
from bertedge.heads import BY_VERB
from bertedge.probabilities import sigmoid, softmax
from bertedge.runtime import BertRuntime, Fill
from bertedge.serve.routes.example_bodies import example_texts, needed_options
from bertedge.serve.routes.hub_body import Asked, Compared, HubBody, Parameters
from bertedge.serve.routes.route import Route, Task
from bertedge.serve.routes.tei_routes import check_side
from bertedge.serve.routes.text_lengths import require_small
from bertedge.serve.routes.vectors import vectors_of

#: Words that are proposed for a mask by default.
WORDS_OF_A_MASK = 5
#: Masks of a request with targets, at most: the whole vocabulary is looked at for each.
MASKS_WITH_TARGETS = 8
#: ``function_to_apply`` -> from a text's raw scores to what is answered.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {"none": lambda logits: logits, "softmax": softmax, "sigmoid": sigmoid}


def _parameters(body: HubBody) -> Parameters:
    return body.parameters or Parameters()


def feature_extraction(model: BertRuntime, body: HubBody) -> Any:
    """Vectors, (texts, D)."""
    check_side(model, body.truncation_direction)
    return vectors_of(
        model,
        body.texts,
        normalize=body.normalize is not False,
        dimensions=body.dimensions,
        prompt_name=body.prompt_name,
        truncate=body.cuts,
    )


def sentence_similarity(model: BertRuntime, body: HubBody) -> Any:
    """How similar each sentence is to the first one, by the model's own function."""
    first, *others = body.texts
    return model.similarity(first, others)


def text_classification(model: BertRuntime, body: HubBody) -> list[list[dict[str, Any]]]:
    """The labels of each text, the best first."""
    own = _parameters(body)
    if own.function_to_apply is None:
        answers = model.classify(body.texts, top_k=own.top_k, classifier=own.classifier)
        return [[{"label": one.label, "score": one.score} for one in answer.scores] for answer in answers]
    apply = FUNCTIONS[own.function_to_apply]
    labels = []
    for answer in model.classify(body.texts, classifier=own.classifier, raw_scores=True):
        scores = apply(np.array([one.score for one in answer.scores], dtype=np.float32)).tolist()
        named = zip(answer.scores, scores, strict=True)
        labels.append([{"label": one.label, "score": score} for one, score in named][: own.top_k])
    return labels


def token_classification(model: BertRuntime, body: HubBody) -> list[Any]:
    """The entities of one text, or a list for each of several."""
    own = _parameters(body)
    require_small(model, ENTITIES.verb, {"stride": own.stride})
    found = model.tag(body.texts, aggregation=own.aggregation_strategy, stride=own.stride)
    name = "entity" if own.aggregation_strategy == "none" else "entity_group"
    ignored = set(own.ignore_labels or ())
    entities = [
        [
            {name: one.label, "score": one.score, "word": one.text, "start": one.start, "end": one.end}
            for one in entities
            if one.label not in ignored
        ]
        for entities in found
    ]
    return entities[0] if isinstance(body.inputs, str) else entities


def fill_mask(model: BertRuntime, body: HubBody) -> list[Any]:
    """The words for each mask of a text; without the list around it where a text has one mask."""
    own, count = _parameters(body), _parameters(body).top_k or WORDS_OF_A_MASK
    require_small(model, WORDS.verb, {"top_k": count})
    if own.targets is not None:
        if sum(text.count(model.tokenizer.mask_token) for text in body.texts) > MASKS_WITH_TARGETS:
            raise UsageError(f"targets are for at most {MASKS_WITH_TARGETS} masks", "send fewer texts at once")
        count = model.config.vocab_size
    filled = []
    for text, fills in zip(body.texts, model.fill_mask(body.texts, top_k=count), strict=True):
        masks = [_words(model, text, place, proposals, own) for place, proposals in enumerate(fills)]
        filled.append(masks[0] if len(masks) == 1 else masks)
    return filled[0] if isinstance(body.inputs, str) else filled


def _words(
    model: BertRuntime, text: str, place: int, proposals: Sequence[Fill], own: Parameters
) -> list[dict[str, Any]]:
    """The proposals for one mask of a text."""
    targets = None if own.targets is None else set(own.targets)
    kept = [fill for fill in proposals if targets is None or fill.token in targets][: own.top_k or len(proposals)]
    return [
        {
            "score": fill.probability,
            "token": fill.token_id,
            "token_str": fill.token,
            "sequence": _filled(model, text, place, fill.token),
        }
        for fill in kept
    ]


def _filled(model: BertRuntime, text: str, place: int, word: str) -> str:
    """A text with a word in place of one of its masks; a token that continues a word joins it."""
    parts = text.split(model.tokenizer.mask_token)
    before = model.tokenizer.mask_token.join(parts[: place + 1])
    after = model.tokenizer.mask_token.join(parts[place + 1 :])
    prefix = model.tokenizer.continuation_prefix
    if prefix and word.startswith(prefix):
        return before.rstrip() + word.removeprefix(prefix) + after
    return before + word + after


def question_answering(model: BertRuntime, body: HubBody) -> Any:
    """The best answer; with ``top_k`` above 1, a list of answers."""
    own, asked = _parameters(body), body.inputs
    assert isinstance(asked, Asked)
    given: dict[str, Any] = {"longest": own.max_answer_len, "stride": own.doc_stride, "whole_words": own.align_to_words}
    given = {name: value for name, value in given.items() if value is not None}
    given["no_answer"] = bool(own.handle_impossible_answer)
    answers = model.answer(asked.question, asked.context, top=own.top_k or 1, **given)
    told = [{"answer": one.text, "start": one.start, "end": one.end, "score": one.score} for one in answers]
    return told if own.top_k is not None and own.top_k > 1 else told[0]


VECTORS = Task(verb="embed", answer=feature_extraction)
SIMILARITY = Task(verb="embed", answer=sentence_similarity)
LABELS = Task(verb="classify", answer=text_classification)
ENTITIES = Task(verb="tag", answer=token_classification)
WORDS = Task(verb="fill-mask", answer=fill_mask, suits=lambda model, body: model.tokenizer.mask_token in body.texts[0])
ANSWER = Task(verb="answer", answer=question_answering)
#: A parameter -> the only task that has it.
MARKS = {
    "function_to_apply": LABELS,
    "aggregation_strategy": ENTITIES,
    "ignore_labels": ENTITIES,
    "stride": ENTITIES,
    "targets": WORDS,
}


def tasks_of(body: HubBody) -> Sequence[Task]:
    """The tasks that a body may mean, the likeliest first.

    ``InferenceClient`` sends ``parameters`` with every task but vectors.

    Raises:
        UsageError: it means a task that is not offered.
    """
    own = _parameters(body)
    if own.candidate_labels is not None:
        raise UsageError("zero-shot classification is not offered", "serve a classifier that was trained on the labels")
    if isinstance(body.inputs, Compared):
        return (SIMILARITY,)
    if isinstance(body.inputs, Asked):
        return (ANSWER,)
    if body.wants_vectors:
        return (VECTORS,)
    marked = [task for name, task in MARKS.items() if getattr(own, name) is not None]
    if marked:
        return marked[:1]
    return (WORDS, LABELS, ENTITIES) if body.parameters is not None else (WORDS, LABELS, ENTITIES, VECTORS)


def _example(model: BertRuntime) -> dict[str, Any]:
    """The example of the task that a model is made for."""
    if ANSWER.verb in model.verbs:
        _, options = BY_VERB[ANSWER.verb].verb.parsed_example()
        return {"inputs": options}
    verb = next(task.verb for task in (LABELS, ENTITIES, WORDS, VECTORS) if task.verb in model.verbs)
    options = needed_options(model, verb)
    return {"inputs": example_texts(model, verb)[0]} | ({"parameters": options} if options else {})


ROUTES = (
    Route(
        path="/",
        tag="huggingface_hub",
        summary="What InferenceClient asks for: vectors, labels, entities, words for a mask, answers, or similarities.",
        schema=HubBody,
        tasks=tasks_of,
        items=lambda body: body.texts,
        example=_example,
        answers={},
    ),
)
