"""Quantities that compare the labels of a candidate with float's and with the right ones.

Arrays are (B, C): the labels of all classifiers, one classifier after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Quantities
from bertedge.heads.sequence_settings import THRESHOLD, Classifier, SequenceSettings
from bertedge.probabilities import log_sigmoid, log_softmax

Logits = NDArray[np.float32]
Rows = NDArray[np.int64]


def label_quantities(expected: Logits, got: Logits, settings: SequenceSettings) -> tuple[Quantities, Rows]:
    """``equal``, ``kl`` and ``prob_diff`` of each text and classifier, (N,), and their rows in the batch."""
    parts = [_compared(one, expected[:, place], got[:, place]) for one, place in settings.slices()]
    rows = np.tile(np.arange(len(expected)), len(parts))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, rows


def labelled_quantities(
    expected: Logits, got: Logits, right: NDArray[np.float32], settings: SequenceSettings
) -> tuple[Quantities, Rows]:
    """``reference_hit`` and ``hit``, for scores also ``error``, of the texts whose answer is known.

    Args:
        right: see :meth:`bertedge.heads.sequence_classification.SequenceClassification.target`.
    """
    found: list[Quantities] = []
    rows: list[Rows] = []
    for classifier, place in settings.slices():
        known = np.flatnonzero(~np.isnan(right[:, place]).any(axis=1))
        one, other, labels = expected[known, place], got[known, place], right[known, place]
        if classifier.problem == "regression":
            found.append({"error": np.abs(other - labels).mean(axis=1)})
        else:
            hits = [_equal(_chosen(classifier, logits), labels > 0) for logits in (one, other)]
            found.append({"reference_hit": hits[0], "hit": hits[1]})
        rows.append(known)
    shared = [part for part in found if part.keys() == found[0].keys()]  # classifiers of one kind are compared
    kept = [own for own, part in zip(rows, found, strict=True) if part.keys() == found[0].keys()]
    return {name: np.concatenate([part[name] for part in shared]) for name in found[0]}, np.concatenate(kept)


def _compared(classifier: Classifier, expected: Logits, got: Logits) -> Quantities:
    if classifier.problem == "regression":
        difference = (got - expected).astype(np.float64)
        return {
            "equal": (np.abs(difference) <= THRESHOLD).all(axis=1),
            "kl": 0.5 * (difference**2).sum(axis=1),
            "prob_diff": np.abs(difference).mean(axis=1),
        }
    equal = _equal(_chosen(classifier, expected), _chosen(classifier, got))
    if classifier.problem == "single":
        log_p, log_q = log_softmax(expected), log_softmax(got)
        best = expected.argmax(axis=1)[:, None]
        change = np.exp(np.take_along_axis(log_p, best, 1)) - np.exp(np.take_along_axis(log_q, best, 1))
        kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
        return {"equal": equal, "kl": kl, "prob_diff": np.abs(change[:, 0])}
    kl = np.zeros(len(expected))
    for one, other in ((expected, got), (-expected, -got)):  # the label, and its absence
        log_p, log_q = log_sigmoid(one), log_sigmoid(other)
        kl = kl + (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    change = np.exp(log_sigmoid(expected)) - np.exp(log_sigmoid(got))
    return {"equal": equal, "kl": kl, "prob_diff": np.abs(change).mean(axis=1)}


def _chosen(classifier: Classifier, logits: Logits) -> NDArray[np.bool_]:
    return classifier.chosen(classifier.probabilities(logits))


def _equal(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (one == other).all(axis=1)
