"""How similar vectors are, as sentence-transformers computes it: larger is more similar for every function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bertedge.pooling import Similarity
from bertedge.vector_modules import TINY

Vectors = NDArray[np.float32]


def similarities(one: Vectors, other: Vectors, function: Similarity) -> Vectors:
    """The similarity of every vector to every other one, (N, D) and (M, D) -> (N, M).

    ``euclidean`` and ``manhattan`` are distances with a minus sign.
    """
    return _COMPARE[function](one, other).astype(np.float32, copy=False)


def _cosine(one: Vectors, other: Vectors) -> Vectors:
    return _unit(one) @ _unit(other).T


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY)


def _by_rows(distance: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Vectors, Vectors], Vectors]:
    """A negated distance, row by row: the differences of all pairs at once would need N * M * D numbers."""

    def compare(one: Vectors, other: Vectors) -> Vectors:
        exact = other.astype(np.float64)
        rows = [-distance(exact - vector) for vector in one.astype(np.float64)]
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, len(other)), np.float32)

    return compare


_COMPARE: dict[str, Callable[[Vectors, Vectors], Vectors]] = {
    "cosine": _cosine,
    "dot": lambda one, other: one @ other.T,
    "euclidean": _by_rows(lambda difference: np.linalg.norm(difference, axis=1)),
    "manhattan": _by_rows(lambda difference: np.abs(difference).sum(axis=1)),
}
