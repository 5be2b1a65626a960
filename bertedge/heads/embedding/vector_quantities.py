"""Quantities that compare a candidate's vectors with float's: direction, length, neighbours, similarities of pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Quantities
from bertedge.pooling import Similarity, cosines
from bertedge.similarity import similarities
from bertedge.vector_modules import TINY

Vectors = NDArray[np.float32]
#: Neighbours that are compared, and the fewest texts that are enough for a comparison.
NEIGHBOURS, FEWEST_TEXTS = 10, 30
#: Vectors that similarities are computed for at once.
CHUNK = 512


def quantities(expected: Vectors, got: Vectors) -> Quantities:
    """``cosine`` and ``relative_error`` = |got - expected| / |expected| of each row, from (N, H)."""
    errors = np.linalg.norm(got.astype(np.float64) - expected, axis=1)
    lengths = np.maximum(np.linalg.norm(expected.astype(np.float64), axis=1), TINY)
    return {"cosine": cosines(expected, got), "relative_error": errors / lengths}


def pair_similarities(
    expected: Vectors, got: Vectors, pair: NDArray[np.float64], score: NDArray[np.float64], function: Similarity
) -> Quantities:
    """``reference_similarity``, ``similarity``, ``score`` and ``is_pair`` of each text, (N,); empty without pairs.

    Those of a pair are at its first text; ``is_pair`` is 0 at all other texts.

    Args:
        expected, got: vectors of both models, (N, D).
        pair: the number of each text's pair, NaN for a text without one, (N,).
    """
    first = {number: index for index, number in reversed(list(enumerate(pair.tolist()))) if number == number}
    second = {number: index for index, number in enumerate(pair.tolist()) if number == number}
    both = [(index, second[number]) for number, index in first.items() if second[number] != index]
    if not both:
        return {}
    found = {name: np.zeros(len(pair)) for name in ("reference_similarity", "similarity", "score", "is_pair")}
    for one, other in both:
        found["is_pair"][one], found["score"][one] = 1, score[one]
        for name, vectors in (("reference_similarity", expected), ("similarity", got)):
            found[name][one] = similarities(vectors[one][None], vectors[other][None], function)[0, 0]
    return found


def shared_neighbours(expected: Vectors, got: Vectors) -> NDArray[np.float64]:
    """For each text, the share of its ten nearest by float that are among its ten nearest by the candidate, (N,).

    Nearest by cosine among all other texts; of equally near ones those that come first.

    Args:
        expected, got: a vector of each text, shape (N, D).
    """
    ours, theirs = (_unit(vectors) for vectors in (expected, got))
    shares = np.empty(len(expected))
    for start in range(0, len(expected), CHUNK):
        rows = slice(start, start + CHUNK)
        near = [_nearest(vectors[rows] @ vectors.T, start) for vectors in (ours, theirs)]
        shares[rows] = (near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean(axis=1)
    return shares * np.isfinite(got).all(axis=1)


def _unit(vectors: Vectors) -> NDArray[np.float64]:
    exact = np.nan_to_num(vectors.astype(np.float64))
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), TINY)


def _nearest(closeness: NDArray[np.float64], start: int) -> NDArray[np.int64]:
    """(rows, NEIGHBOURS); a text is not its own neighbour."""
    rows = np.arange(len(closeness))
    closeness[rows, rows + start] = -np.inf
    return np.argsort(-closeness, axis=1, kind="stable")[:, :NEIGHBOURS]
