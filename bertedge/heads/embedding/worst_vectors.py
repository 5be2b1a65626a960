"""The texts whose vectors differ most from float's: those with another nearest text, and those farthest apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.heads.cases import Answer, Case, WorstList, passage, texts_of
from bertedge.heads.embedding.vector_quantities import CHUNK
from bertedge.heads.head import Arrays
from bertedge.pooling import cosines, normalized
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

#: Nearest texts that are shown.
SHOWN = 3
#: A smaller distance of a cosine from 1 is only rounding.
MIN_DISTANCE = 1e-6
NEAREST, APART = "embedding.nearest", "embedding.texts"
LISTS = {NEAREST: "Another nearest text", APART: "Vectors farthest from float's"}

Vectors = NDArray[np.float32]


class WorstVectors:
    """Keeps the vectors of all single texts, because the nearest texts of a text may be in any batch."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: list[str] = []
        self._vectors: tuple[list[Vectors], list[Vectors]] = ([], [])

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        """The arrays are those of :meth:`bertedge.heads.Head.read`."""
        if "embedding" not in expected or "embedding" not in got:
            return
        self._texts += [texts_of(self._tokenizer, batch, int(row))[0] for row in np.flatnonzero(batch.single)]
        for kept, arrays in zip(self._vectors, (expected, got), strict=True):
            kept += [normalized(np.nan_to_num(vector)) for vector in arrays["embedding"]]

    def found(self) -> dict[str, tuple[Case, ...]]:
        """By the names of the lists in :attr:`bertedge.heads.Head.lists`."""
        other, apart = WorstList(above=MIN_DISTANCE), WorstList(above=MIN_DISTANCE)
        if len(self._texts) > 1:
            ours, theirs = (np.stack(kept) for kept in self._vectors)
            near, far = (_nearest(vectors) for vectors in (ours, theirs))
            distance = 1 - cosines(ours, theirs)
            first, second = near[0], far[0]
            rows = np.arange(len(ours))
            lead = near[1][:, 0] - np.einsum("nd,nd->n", ours, ours[second[:, 0]])

            def case(index: int) -> Case:
                return Case(
                    texts=(passage(self._texts[index]),),
                    note=f"Its vector has a cosine of {1 - distance[index]:.4f} with float's.",
                    reference=self._answers(first[index], near[1][index]),
                    candidate=self._answers(second[index], far[1][index]),
                )

            differs = first[:, 0] != second[:, 0]
            other.add(np.where(differs, lead + MIN_DISTANCE, 0), case, rows)
            apart.add(distance, case, rows)
        return {NEAREST: other.cases(), APART: apart.cases()}

    def _answers(self, nearest: NDArray[np.int64], similarity: Vectors) -> tuple[Answer, ...]:
        found = zip(nearest, similarity, strict=True)
        return tuple(Answer(text=self._texts[index], value=float(value)) for index, value in found)


def _nearest(vectors: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """The nearest other texts of each text, and their cosines, the nearest first: (N, SHOWN) each, or all others."""
    count = min(SHOWN, len(vectors) - 1)
    places, values = [], []
    for start in range(0, len(vectors), CHUNK):
        similarity = vectors[start : start + CHUNK] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, rows + start] = -np.inf
        places.append(np.argsort(-similarity, axis=1, kind="stable")[:, :count])
        values.append(np.take_along_axis(similarity, places[-1], axis=1))
    return np.concatenate(places), np.concatenate(values)
