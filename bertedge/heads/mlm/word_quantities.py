"""Quantities that compare a candidate with its reference at masked positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Arrays, Quantities
from bertedge.probabilities import Logits, answers, log_softmax

#: Best tokens that are compared.
TOP = 5


def word_quantities(expected: Logits, got: Logits, labels: NDArray[np.int64]) -> Quantities:
    """Quantities at M masked positions, from logits (M, V)."""
    log_p, log_q = log_softmax(expected), log_softmax(got)
    best, top = _best(expected), _best(got)
    first, answer = expected.argmax(axis=1), answers(got)
    rows = np.arange(len(labels))
    return {
        "top1_equal": first == answer,
        "top5_overlap": (best[:, :, None] == top[:, None, :]).any(axis=2).mean(axis=1) * (answer >= 0),
        "kl": np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0),
        "reference_hit": first == labels,
        "hit": answer == labels,
        "reference_nll": -log_p[rows, labels],
        "nll": -log_q[rows, labels],
    }


def quantities_of_kept(kept: Arrays, logits: Logits, labels: NDArray[np.int64]) -> Quantities:
    """Quantities at M masked positions, from logits (M, V); KL = sum p log p - sum p q + log sum exp q."""
    top = logits.max(axis=1)
    normalizer = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    crossed = np.einsum("mv,mv->m", kept["probabilities"], logits)
    best = answers(logits)
    return {
        "top1_equal": best == kept["best"],
        "kl": np.maximum(kept["negentropy"] - crossed + normalizer, 0.0),
        "reference_hit": kept["best"] == labels,
        "hit": best == labels,
        "reference_nll": kept["nll"],
        "nll": normalizer - logits[np.arange(len(labels)), labels],
    }


def keep_words(logits: Logits, labels: NDArray[np.int64]) -> Arrays:
    """Probabilities (M, V) of a reference, and the numbers (M,) that follow from them."""
    log_p = log_softmax(logits)
    p = np.exp(log_p)
    return {
        "probabilities": p,
        "negentropy": np.einsum("mv,mv->m", p, log_p),
        "best": logits.argmax(axis=1),
        "nll": -log_p[np.arange(len(labels)), labels],
    }


def _best(logits: Logits) -> NDArray[np.int64]:
    return np.argpartition(-logits, min(TOP, logits.shape[1]) - 1, axis=1)[:, :TOP]
