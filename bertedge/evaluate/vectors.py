"""How far vectors are from float's: hidden states, pooled vectors and pooler outputs are outputs like any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bertedge.embedding import TINY, cosines, pool
from bertedge.predictor import Batch, Outputs

Vectors = NDArray[np.float32]
#: Neighbours that are compared, and the fewest texts that tell anything of them.
NEIGHBOURS, FEWEST_TEXTS = 10, 30
#: Vectors that similarities are computed for at once.
CHUNK = 512


def quantities(expected: Vectors, got: Vectors) -> dict[str, NDArray]:
    """``cosine`` and ``relative_error`` = |got - expected| / |expected| of each row, from (N, H)."""
    errors = np.linalg.norm(got.astype(np.float64) - expected, axis=1)
    lengths = np.maximum(np.linalg.norm(expected.astype(np.float64), axis=1), TINY)
    return {"cosine": cosines(expected, got), "relative_error": errors / lengths}


def read_vectors(batch: Batch, outputs: Outputs, modes: Sequence[str]) -> dict[str, Vectors]:
    """What there is to compare: ``hidden`` (tokens, H), ``embedding`` (single texts, D), ``pooler`` (B, H).

    Args:
        modes: how the vector of a text is made; see :func:`bertedge.embedding.pool`.
    """
    found: dict[str, Vectors] = {}
    if outputs.hidden_states is not None:
        found["hidden"] = outputs.hidden_states[batch.attention_mask == 1]
        rows = np.flatnonzero(is_single(batch))
        if len(rows):
            texts = (outputs.hidden_states[row, : batch.lengths[row]] for row in rows)
            found["embedding"] = np.stack([pool(states, modes) for states in texts])
    if outputs.pooler_output is not None:
        found["pooler"] = outputs.pooler_output
    return found


def rows_of(head: str, batch: Batch) -> NDArray[np.int64]:
    """The row of the batch that each vector of :func:`read_vectors` is of."""
    rows = np.arange(len(batch.input_ids))
    if head == "hidden":
        return np.repeat(rows, batch.lengths)
    return rows[is_single(batch)] if head == "embedding" else rows


def is_single(batch: Batch) -> NDArray[np.bool_]:
    """Which rows are single texts, (B,)."""
    return ~((batch.token_type_ids == 1) & (batch.attention_mask == 1)).any(axis=1)


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
    wide = np.nan_to_num(vectors.astype(np.float64))
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), TINY)


def _nearest(similarities: NDArray[np.float64], start: int) -> NDArray[np.int64]:
    """(rows, NEIGHBOURS); a text is not its own neighbour."""
    rows = np.arange(len(similarities))
    similarities[rows, rows + start] = -np.inf
    return np.argsort(-similarities, axis=1, kind="stable")[:, :NEIGHBOURS]
