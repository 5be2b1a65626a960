"""The right labels of an example, as its file gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CorpusError, nearest
from bertedge.example import Example
from bertedge.heads.labels import place_of
from bertedge.heads.sequence_settings import Classifier

#: Columns of a file that hold the right answer, the first one that has a value: labels, or scores.
COLUMNS, SCORES = ("label", "labels", "score"), ("score", "label", "labels")


def given_answer(example: Example, classifier: Classifier) -> Any:
    """The answer of an example to one classifier: in the column of its name, or of a usual name."""
    usual = SCORES if classifier.problem == "regression" else COLUMNS
    columns = (classifier.name,) if classifier.name else usual
    return next((example.values[column] for column in columns if example.values.get(column) is not None), None)


def answer_of(value: Any, classifier: Classifier) -> NDArray[np.float32] | float:
    """The answer as :meth:`bertedge.heads.Head.target` gives it: a score, or 1 for each right label, (labels,)."""
    if classifier.problem == "regression":
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise CorpusError(
                f"the score {str(value)[:60]!r} is not a number", "correct the row, or leave it out"
            ) from error
    right = np.zeros(len(classifier.labels), dtype=np.float32)
    several = value if isinstance(value, list | tuple) else [value]
    if _is_for_each(several, classifier):
        return np.array(several, dtype=np.float32)
    if classifier.problem == "single" and len(several) != 1:
        raise CorpusError(f"a text has {len(several)} labels, but the model gives one", "give one label")
    for label in several:
        right[_index(label, classifier.labels)] = 1
    return right


def _is_for_each(values: Sequence[Any], classifier: Classifier) -> bool:
    """Whether a list has 0 or 1 for each label, instead of the names or numbers of the right ones."""
    size = len(classifier.labels)
    numbers = all(isinstance(value, int | float) and value in (0, 1) for value in values)
    return classifier.problem == "multi" and len(values) == size > 2 and numbers


def _index(label: Any, labels: tuple[str, ...]) -> int:
    place = place_of(label, labels)
    if place is None:
        name = str(label).strip()
        raise CorpusError(f"the model has no label {name[:60]!r}", nearest(name, labels))
    return place
