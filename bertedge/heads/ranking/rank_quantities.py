"""Quantities that compare the order of documents of each query: a candidate's, float's, and the right one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.head import Quantities
from bertedge.predictor import Batch

Floats = NDArray[np.float64]
#: Documents of a query whose order counts with labels (Jarvelin and Kekalainen 2002).
DEPTH = 10


def queries_of(batch: Batch) -> NDArray[np.int64]:
    """A number for the query of each row, (B,): equal for equal queries."""
    ends = np.argmax(batch.token_type_ids == 1, axis=1) if batch.second is None else batch.second[:, 0]
    return np.array([zlib.crc32(row[:end].tobytes()) for row, end in zip(batch.input_ids, ends, strict=True)])


def order_quantities(query: NDArray[np.int64], expected: Floats, got: Floats, right: Floats | None) -> Quantities:
    """``top1``, ``tau`` and with ``right`` the gains of each pair's query, (N,), and its ``share`` of the query.

    Shares of the pairs of a query add up to 1, so every query counts the same. Pairs whose query has no other document
    have share 0. Empty if no query has several documents. The gains have a ``known_share`` of their own, which is 0
    for queries with fewer than two documents of known relevance.

    Args:
        query: the query of each pair.
        expected, got: scores of float and of the candidate.
        right: relevance of each pair, NaN where it is unknown; None without labels.
    """
    groups = [rows for rows in _groups(query) if len(rows) > 1]
    if not groups:
        return {}
    names = ["share", "top1", "tau", *([] if right is None else ["known_share", "reference_gain", "gain"])]
    values = {name: np.zeros(len(query)) for name in names}
    for rows in groups:
        values["share"][rows] = 1 / len(rows)
        values["top1"][rows] = expected[rows].argmax() == _finite(got[rows]).argmax()
        values["tau"][rows] = kendall_tau(expected[rows], got[rows])
        if right is not None:
            known = rows[~np.isnan(right[rows])]
            if len(known) < 2:
                continue
            values["known_share"][rows] = 1 / len(rows)
            values["reference_gain"][rows] = ndcg(expected[known], right[known])
            values["gain"][rows] = ndcg(got[known], right[known])
    return values


def kendall_tau(one: Floats, other: Floats) -> float:
    """Kendall's tau-b of two lists of scores: 1 for the same order, -1 for the opposite one (Kendall 1945).

    1 if all scores of ``one`` are equal, because no order can be lost; 0 if only those of ``other`` are.
    """
    first, second = (np.sign(np.subtract.outer(_finite(scores), _finite(scores))) for scores in (one, other))
    ties = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / ties) if ties else float(not first.any())


def ndcg(scores: Floats, relevance: Floats) -> float:
    """The discounted gain of the ten best documents over that of the best order; 1 if no document is relevant."""
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    best = np.sort(relevance)[::-1][:DEPTH]
    ideal = float((best * discounts[: len(best)]).sum())
    found = relevance[np.argsort(-_finite(scores), kind="stable")][:DEPTH]
    return float((found * discounts[: len(found)]).sum()) / ideal if ideal else 1.0


def _finite(scores: Floats) -> Floats:
    """Scores that are no numbers are the worst."""
    return np.nan_to_num(scores, nan=-np.inf, posinf=np.finfo(np.float64).max, neginf=-np.finfo(np.float64).max)


def _groups(query: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The pairs of each query."""
    order = np.argsort(query, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(query[order])) + 1)
