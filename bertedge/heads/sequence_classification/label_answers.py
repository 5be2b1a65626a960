"""The right labels of an example, as its file gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CorpusError, nearest
from bertedge.example import Example
from bertedge.heads.sequence_settings import Classifier

#: Columns of a file that hold the right answer.
COLUMNS = ("label", "labels", "score")


def given_answer(example: Example, classifier: Classifier) -> Any:
    """The answer of an example to one classifier: in the column of its name, or of a usual name."""
    columns = (classifier.name,) if classifier.name else COLUMNS
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
    if classifier.problem == "single" and len(several) != 1:
        raise CorpusError(f"a text has {len(several)} labels, but the model gives one", "give one label")
    for label in several:
        right[_index(label, classifier.labels)] = 1
    return right


def _index(label: Any, labels: tuple[str, ...]) -> int:
    """The output of a label, which is given by its name or as a number."""
    name = str(label).strip()
    if name in labels:
        return labels.index(name)
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    raise CorpusError(f"the model has no label {name[:60]!r}", nearest(name, labels))
