"""What a checkpoint says about its classifiers of whole texts, and how their outputs are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import encoder_of
from bertedge.errors import CheckpointError
from bertedge.heads.labels import labels_of
from bertedge.heads.structure import Found, NamedClassifier
from bertedge.layers import Reads
from bertedge.probabilities import sigmoid, softmax

#: ``single``: exactly one label is right (softmax). ``multi``: any number of labels (a sigmoid for each).
#: ``regression``: the outputs are scores.
Problem = Literal["single", "multi", "regression"]
PROBLEMS: dict[str, Problem] = {
    "single_label_classification": "single",
    "multi_label_classification": "multi",
    "regression": "regression",
}
#: A label of a ``multi`` classifier is given to texts with at least this probability.
THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One question that is answered about a text.

    Attributes:
        name: empty if the model has only this classifier.
        owner: the prefix of its last layer's tensors.
        labels: the label of each output.
    """

    name: str
    owner: str
    labels: tuple[str, ...]
    problem: Problem

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of each label, from its own logits, over the last axis; of a regression, the scores."""
        if self.problem == "regression":
            return logits
        return softmax(logits) if self.problem == "single" else sigmoid(logits)

    def chosen(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The labels that texts get, (B, labels). None is chosen where a probability is not a number."""
        known = np.isfinite(probabilities).all(axis=1, keepdims=True)
        if self.problem == "single":
            best = probabilities.argmax(axis=1)[:, None]
            return (np.arange(len(self.labels)) == best) & known
        return (probabilities >= THRESHOLD) & known


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """The classifiers of a model, and the layers in front of them.

    Attributes:
        reads: what the first layer reads: the pooler's output, the first token's state, or the mean of all states.
        dense: the prefix of a dense layer in front of the classifiers; None if there is none.
        activation: the function after it, such as ``tanh``.
        norm: the prefix of a layer norm after that; None if there is none.
    """

    reads: Literal["pooler", "first", "mean"]
    classifiers: tuple[Classifier, ...]
    dense: str | None = None
    activation: str | None = None
    norm: str | None = None

    def slices(self) -> Iterator[tuple[Classifier, slice]]:
        """Each classifier, and the place of its logits in the output of the head."""
        start = 0
        for classifier in self.classifiers:
            yield classifier, slice(start, start + len(classifier.labels))
            start += len(classifier.labels)

    @property
    def last(self) -> list[tuple[str, int]]:
        """The last layer of each classifier: the prefix of its tensors, and its outputs."""
        return [(classifier.owner, len(classifier.labels)) for classifier in self.classifiers]

    @property
    def positions(self) -> Reads:
        """The positions that the layers are computed for."""
        return "mean" if self.reads == "mean" else "first"

    @property
    def size(self) -> int:
        """Outputs of all classifiers."""
        return sum(len(classifier.labels) for classifier in self.classifiers)


def sequence_settings(found: Found) -> SequenceSettings:
    """Read the settings of a checkpoint.

    Raises:
        CheckpointError: a tensor of a classifier has a wrong shape; the problem type is not known.
    """
    if found.classifiers:
        pooler = "pooler.dense.weight" in found.tensors
        named = tuple(_named(found, name, own) for name, own in found.classifiers.items())
        return SequenceSettings(reads="pooler" if pooler else "first", classifiers=named)
    family = encoder_of(found.config).classifier
    return SequenceSettings(
        reads=family.reads_of(found.raw),
        classifiers=(_classifier(found, "", family.out, found.raw),),
        dense=family.dense,
        activation=family.activation_of(found.config),
        norm=family.norm,
    )


def _named(found: Found, name: str, own: NamedClassifier) -> Classifier:
    raw = {"problem_type": own.problem_type, "id2label": dict(enumerate(own.labels)) if own.labels else None}
    classifier = _classifier(found, name, own.tensor, raw)
    if own.labels and len(own.labels) != len(classifier.labels):
        raise CheckpointError(
            f"{own.tensor}.weight has {len(classifier.labels)} outputs, but {len(own.labels)} labels are named",
            "name the label of each output",
        )
    return classifier


def _classifier(found: Found, name: str, owner: str, raw: Mapping[str, Any]) -> Classifier:
    shape = found.tensors.get(f"{owner}.weight", ())
    if len(shape) != 2 or shape[0] < 1 or shape[1] != found.config.hidden_size:
        seen = f"is {list(shape)}" if shape else "is missing"
        raise CheckpointError(
            f"{owner}.weight {seen}, expected [labels, {found.config.hidden_size}]",
            "name the last layer of a classifier by the prefix of its tensors"
            if name
            else "take the complete checkpoint",
        )
    return Classifier(name=name, owner=owner, labels=labels_of(raw, shape[0]), problem=_problem(raw, shape[0]))


def _problem(raw: Mapping[str, Any], size: int) -> Problem:
    """The kind of problem. Without ``problem_type``, one output is one label with a sigmoid, as in ``transformers``."""
    told = raw.get("problem_type")
    if told is None:
        return "multi" if size == 1 else "single"
    if told not in PROBLEMS:
        raise CheckpointError(
            f"config: problem_type is {str(told)[:60]!r}, expected {' or '.join(map(repr, PROBLEMS))}",
            "correct config.json",
        )
    return PROBLEMS[told]
