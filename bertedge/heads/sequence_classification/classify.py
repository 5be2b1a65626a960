"""``classify``: the labels of texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError, nearest
from bertedge.heads.sequence_settings import THRESHOLD, Classifier, SequenceSettings
from bertedge.heads.text_model import TextModel, row_of
from bertedge.predictor import RowOutputs
from bertedge.probabilities import top_indices
from bertedge.texts import Pair, texts_or_pairs

HEAD = "sequence_classification"


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """A label and its probability; the score itself where the model predicts scores."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The answer to one text.

    Attributes:
        label: the best label.
        score: its probability; the score itself where the model predicts scores.
        labels: the labels that the text gets: the best one, or all with a probability of at least one half where a
            text can have several; empty where the model predicts scores.
        scores: the labels with their probabilities, the largest first.
    """

    label: str
    score: float
    labels: tuple[str, ...]
    scores: tuple[LabelScore, ...]


class Classify(TextModel):
    """The method of the classifiers of whole texts."""

    @overload  # a string is an iterable of strings too, but this case
    def classify(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        pair: str | None = None,
        top_k: int | None = None,
        classifier: str | None = None,
        raw_scores: bool = False,
    ) -> Classification: ...
    @overload
    def classify(
        self,
        texts: Iterable[str | Pair],
        *,
        pair: str | None = None,
        top_k: int | None = None,
        classifier: str | None = None,
        raw_scores: bool = False,
    ) -> list[Classification]: ...
    def classify(
        self,
        texts: str | Iterable[str | Pair],
        *,
        pair: str | None = None,
        top_k: int | None = None,
        classifier: str | None = None,
        raw_scores: bool = False,
    ) -> Classification | list[Classification]:
        """Label texts, or pairs of texts.

        Args:
            texts: one text, or several: a list, an array, a generator. An item may be a pair of texts.
            pair: a second text for each text.
            top_k: the most labels in ``scores``; default: all.
            classifier: the name of a classifier, if the model has several.
            raw_scores: scores are the model's outputs themselves, before they become probabilities.

        Raises:
            CheckpointError: the model has no such head.
            UsageError: an item is not a text; the classifier is not known, or not named where there are several; or
                ``top_k`` is below 1.

        Warns:
            TruncationWarning: texts were too long.
            UnknownTextWarning: texts consist of unknown words.
        """
        self._require(HEAD)
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k is {top_k}, expected at least 1", "leave it out to get all labels")
        chosen, place = self._classifier(classifier)
        if isinstance(texts, str):
            items: list[str | Pair] = [texts]
        else:
            items = texts_or_pairs(texts)
        if pair is not None:
            if any(isinstance(item, tuple) for item in items):
                raise UsageError("classify: pair= is given, but a text is a pair already", "give the pairs only")
            items = [(str(item), pair) for item in items]

        def read(result: RowOutputs) -> Classification:
            return _classification(chosen, result[HEAD][place], top_k, raw_scores)

        answers = self.runner.run([row_of(encoding) for encoding in self.tokenizer.encode_many(items)], read)
        return answers[0] if isinstance(texts, str) else answers

    def _classifier(self, name: str | None) -> tuple[Classifier, slice]:
        settings: SequenceSettings = self.head_settings.sequence_classification
        by_name = {classifier.name: (classifier, place) for classifier, place in settings.slices()}
        if name is None and len(by_name) == 1:
            return next(iter(by_name.values()))
        if name is None:
            raise UsageError(f"{self.name}: has several classifiers", f"name one: {', '.join(by_name)}")
        if name not in by_name:
            hint = nearest(name, by_name) if len(by_name) > 1 else "the model has only one; leave classifier out"
            raise UsageError(f"{self.name}: has no classifier {name[:60]!r}", hint)
        return by_name[name]


def _classification(
    classifier: Classifier, logits: NDArray[np.float32], top_k: int | None, raw_scores: bool
) -> Classification:
    probabilities = classifier.probabilities(logits)
    scores = logits if raw_scores else probabilities
    best = top_indices(scores, len(scores))
    ranked = [LabelScore(label=classifier.labels[index], score=float(scores[index])) for index in best]
    given = {"single": 1, "multi": int((probabilities >= THRESHOLD).sum()), "regression": 0}[classifier.problem]
    return Classification(
        label=ranked[0].label,
        score=ranked[0].score,
        labels=tuple(one.label for one in ranked[:given]),
        scores=tuple(ranked[:top_k]),
    )
