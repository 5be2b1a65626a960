"""From logits to probabilities, and to the best of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def softmax(logits: Logits) -> NDArray[np.float32]:
    """Probabilities over the last axis."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def log_softmax(logits: Logits) -> NDArray[np.float32]:
    """Log probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def answers(logits: Logits) -> NDArray[np.int64]:
    """The best class over the last axis; -1, which is never right, where the logits are not finite."""
    return np.where(np.isfinite(logits.max(axis=-1)), logits.argmax(axis=-1), -1)


def largest_change(here: Logits, there: Logits) -> float:
    """The largest difference of a probability."""
    return float(np.abs(np.exp(log_softmax(here)) - np.exp(log_softmax(there))).max(initial=0.0))


def largest_lead(probabilities: NDArray[np.float32], chosen: NDArray[np.bool_]) -> float:
    """The largest lead of the best class over the second one among those chosen; 0 if none is.

    Args:
        probabilities: (..., classes), of at least two classes.
        chosen: (...).
    """
    second, first = np.moveaxis(np.sort(probabilities, axis=-1)[..., -2:], -1, 0)
    lead = np.maximum(first - second, np.finfo(np.float32).tiny)  # above 0, even if both are equal
    return float(lead.max(initial=0.0, where=chosen))


def largest_label_change(here: Logits, there: Logits) -> float:
    """As :func:`largest_change`, with the probability of each label by itself: a sigmoid is (1 + tanh(x / 2)) / 2."""
    return float(np.abs(np.tanh(here / 2) - np.tanh(there / 2)).max(initial=0.0)) / 2


def top_indices(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of the ``count`` largest along the last axis, largest first; equal values in order of index."""
    count = min(count, values.shape[-1])
    candidates = np.sort(np.argpartition(-values, count - 1, axis=-1)[..., :count], axis=-1)
    order = np.argsort(-np.take_along_axis(values, candidates, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(candidates, order, axis=-1)


def sigmoid(logits: Logits) -> NDArray[np.float32]:
    """The probability of each label by itself."""
    return np.exp(log_sigmoid(logits))


def log_sigmoid(logits: Logits) -> NDArray[np.float32]:
    """The log probability of each label by itself; it does not overflow."""
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return -np.logaddexp(0, -logits).astype(logits.dtype, copy=False)
