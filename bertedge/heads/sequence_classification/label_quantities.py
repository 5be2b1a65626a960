"""Quantities that compare the labels of a candidate with float's and with the right ones.

Arrays are (B, C): the labels of all classifiers, one classifier after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Quantities
from bertedge.heads.sequence_classification.label_metrics import CHOICES, LABELLED, NAME, SCORED, SCORES
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.probabilities import log_sigmoid, log_softmax

Logits = NDArray[np.float32]
Rows = NDArray[np.int64]


def label_quantities(expected: Logits, got: Logits, settings: SequenceSettings) -> tuple[Quantities, Rows]:
    """``equal``, ``kl`` and ``prob_diff`` of each text and classifier, (N,), and their rows in the batch.

    Scores are always ``equal``, and their ``prob_diff`` is the difference itself.
    """
    parts = [_compared(one, expected[:, place], got[:, place]) for one, place in settings.slices()]
    rows = np.tile(np.arange(len(expected)), len(parts))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, rows


def fidelity(expected: Logits, got: Logits, settings: SequenceSettings) -> dict[str, tuple[Quantities, Rows]]:
    """Group of observations -> quantities (N,), and their rows in the batch; see :func:`label_quantities`."""
    values, rows = label_quantities(expected, got, settings)
    scores = np.repeat([one.problem == "regression" for one in settings.classifiers], len(expected))
    chosen = {name: values[name][~scores] for name in ("equal", "prob_diff")}
    return {
        NAME: ({"kl": values["kl"]}, rows),
        CHOICES: (chosen, rows[~scores]),
        SCORES: ({"score_diff": values["prob_diff"][scores]}, rows[scores]),
    }


def accuracy(
    expected: Logits, got: Logits, right: NDArray[np.float32], settings: SequenceSettings
) -> dict[str, tuple[Quantities, Rows]]:
    """As :func:`fidelity`, of the texts whose answer is known.

    ``reference_hit`` and ``hit`` of labels; ``reference_error`` and ``error`` of scores.

    Args:
        right: see :meth:`bertedge.heads.sequence_classification.SequenceClassification.target`.
    """
    found: dict[str, list[tuple[Quantities, Rows]]] = {}
    for classifier, place in settings.slices():
        known = np.flatnonzero(~np.isnan(right[:, place]).any(axis=1))
        labels, models = right[known, place], (expected[known, place], got[known, place])
        if classifier.problem == "regression":
            one, other = (np.abs(scores - labels).mean(axis=1) for scores in models)
            found.setdefault(SCORED, []).append(({"reference_error": one, "error": other}, known))
        else:
            one, other = (_equal(_chosen(classifier, logits), labels > 0) for logits in models)
            found.setdefault(LABELLED, []).append(({"reference_hit": one, "hit": other}, known))
    return {group: _joined(parts) for group, parts in found.items()}


def _joined(parts: Sequence[tuple[Quantities, Rows]]) -> tuple[Quantities, Rows]:
    """The observations of several classifiers."""
    values = {name: np.concatenate([own[name] for own, _ in parts]) for name in parts[0][0]}
    return values, np.concatenate([rows for _, rows in parts])


def _compared(classifier: Classifier, expected: Logits, got: Logits) -> Quantities:
    if classifier.problem == "regression":
        difference = (got - expected).astype(np.float64)
        return {
            "equal": np.ones(len(expected), dtype=np.bool_),
            "kl": 0.5 * (difference**2).sum(axis=1),
            "prob_diff": np.abs(difference).mean(axis=1),
        }
    equal = _equal(_chosen(classifier, expected), _chosen(classifier, got))
    if classifier.problem == "single":
        log_p, log_q = log_softmax(expected), log_softmax(got)
        best = expected.argmax(axis=1)[:, None]
        change = np.exp(np.take_along_axis(log_p, best, 1)) - np.exp(np.take_along_axis(log_q, best, 1))
        kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
        return {"equal": equal, "kl": np.maximum(kl, 0.0), "prob_diff": np.abs(change[:, 0])}
    kl = np.zeros(len(expected))
    for one, other in ((expected, got), (-expected, -got)):  # the label, and its absence
        log_p, log_q = log_sigmoid(one), log_sigmoid(other)
        kl = kl + (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    change = np.exp(log_sigmoid(expected)) - np.exp(log_sigmoid(got))
    return {"equal": equal, "kl": np.maximum(kl, 0.0), "prob_diff": np.abs(change).mean(axis=1)}


def _chosen(classifier: Classifier, logits: Logits) -> NDArray[np.bool_]:
    return classifier.chosen(classifier.probabilities(logits))


def _equal(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (one == other).all(axis=1)
