"""The texts whose labels differ most from float's."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.cases import Answer, Case, WorstList, passage, texts_of
from bertedge.heads.head import Arrays
from bertedge.heads.sequence_classification.label_metrics import NAME
from bertedge.heads.sequence_classification.label_quantities import label_quantities
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.predictor import Batch
from bertedge.probabilities import top_indices
from bertedge.tokenizer import Tokenizer

#: Labels that are shown for each model.
SHOWN = 3
#: A smaller divergence, in nats, is only rounding.
MIN_KL = 1e-6
FLIPS, TEXTS = f"{NAME}.flips", f"{NAME}.texts"


class WorstLabels:
    """Two lists of texts: those with another label than float's, and those whose probabilities are farthest apart."""

    def __init__(self, tokenizer: Tokenizer, settings: SequenceSettings) -> None:
        self._tokenizer, self._settings = tokenizer, settings
        self._flips, self._texts = WorstList(), WorstList(above=MIN_KL)

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        """The arrays are those of :meth:`bertedge.heads.Head.read`."""
        one, other = expected["logits"], got["logits"]
        values, rows = label_quantities(one, other, self._settings)
        labels = batch.labels.get(NAME)

        def case(index: int) -> Case:
            row = int(rows[index])
            classifier, place = list(self._settings.slices())[index // len(one)]
            texts = texts_of(self._tokenizer, batch, row)
            right = _right(classifier, labels[row, place]) if labels is not None else ()
            return Case(
                texts=tuple(passage(text) for text in texts),
                expected=", ".join(right),
                note=_note(classifier, values["kl"][index]),
                reference=_answers(classifier, one[row, place], right),
                candidate=_answers(classifier, other[row, place], right),
            )

        self._flips.add(np.where(values["equal"], 0.0, values["kl"] + MIN_KL), case, rows)
        self._texts.add(np.where(values["equal"], values["kl"], 0.0), case, rows)

    def found(self) -> dict[str, tuple[Case, ...]]:
        """By the names of the lists in :attr:`bertedge.heads.Head.lists`."""
        return {FLIPS: self._flips.cases(), TEXTS: self._texts.cases()}


def _note(classifier: Classifier, kl: float) -> str:
    """Which of several classifiers it is, and how far the probabilities are apart."""
    name = [f"{classifier.name}."] if classifier.name else []
    return " ".join([*name, *([] if classifier.problem == "regression" else [f"KL {kl:.2g} nats."])])


def _right(classifier: Classifier, answers: NDArray[np.float32]) -> tuple[str, ...]:
    """The right labels, or the right score; empty if they are unknown."""
    if np.isnan(answers).any():
        return ()
    if classifier.problem == "regression":
        return tuple(f"{value:.4g}" for value in answers)
    return tuple(classifier.labels[index] for index in np.flatnonzero(answers))


def _answers(classifier: Classifier, logits: NDArray[np.float32], right: Container[str]) -> tuple[Answer, ...]:
    """The best labels, best first; scores of a regression have no probability."""
    values = classifier.probabilities(logits)
    best = top_indices(values, SHOWN)
    if classifier.problem == "regression":
        return tuple(Answer(text=classifier.labels[i], value=float(values[i])) for i in best)
    names = [(classifier.labels[i], float(values[i])) for i in best]
    return tuple(Answer(text=name, share=share, right=name in right) for name, share in names)
