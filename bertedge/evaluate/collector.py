"""What is observed of a candidate next to its reference, batch by batch: one number for each quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bertedge.embedding import UNTOLD
from bertedge.evaluate import vectors
from bertedge.evaluate.bootstrap import Observations, Seen
from bertedge.evaluate.vectors import Vectors
from bertedge.predictor import NO_LABEL, Batch, Outputs

TOP = 5
Logits = NDArray[np.float32]
#: Quantity -> one number for each observation.
Quantities = dict[str, NDArray]


class Collector:
    """Gathers, batch by batch, one number for each quantity and observation; outputs are dropped at once.

    Args:
        pooling: how vectors of single texts are made; see :func:`bertedge.embedding.pool`.
    """

    def __init__(self, pooling: Sequence[str] = UNTOLD) -> None:
        self._pooling = pooling
        self._values: dict[str, dict[str, list[NDArray]]] = {}
        self._text: dict[str, list[NDArray]] = {}
        self._vectors: list[tuple[Vectors, Vectors]] = []
        self._texts = 0

    def add(self, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """Take in what the reference and the candidate said of a batch."""
        masked = None
        if "mlm" in expected.logits and "mlm" in got.logits:
            filled = batch.filled
            one, other = expected.logits["mlm"][filled], got.logits["mlm"][filled]
            masked = _mlm(one, other, batch.labels["mlm"][filled])
        pairs = nsp_quantities(batch, expected.logits.get("nsp"), got.logits.get("nsp"))
        self.add_quantities(batch, masked=masked, pairs=pairs)
        self.add_vectors(batch, *(vectors.read_vectors(batch, outputs, self._pooling) for outputs in (expected, got)))
        self.end_batch(batch)

    def add_quantities(self, batch: Batch, *, masked: Quantities | None, pairs: Quantities | None) -> None:
        """A number for each filled masked position, and for each labelled pair; None for no head."""
        rows = np.arange(len(batch.input_ids))
        self._append("mlm", masked, np.repeat(rows, batch.filled.sum(axis=1)))
        self._append("nsp", pairs, rows[batch.labels["nsp"] != NO_LABEL])

    def add_vectors(self, batch: Batch, expected: dict[str, Vectors], got: dict[str, Vectors]) -> None:
        """Compare what both models gave; see :func:`bertedge.evaluate.vectors.read_vectors`."""
        for head, own in got.items():
            if head in expected:
                self._append(head, vectors.quantities(expected[head], own), vectors.rows_of(head, batch))
        if "embedding" in expected and "embedding" in got:
            self._vectors.append((expected["embedding"], got["embedding"]))

    def end_batch(self, batch: Batch) -> None:
        """Everything of this batch was taken in."""
        self._texts += len(batch.input_ids)

    def _append(self, head: str, values: Quantities | None, rows: NDArray[np.int64]) -> None:
        """Args: rows: the row of the batch that each observation is of."""
        if values is None:
            return
        own = self._values.setdefault(head, {name: [] for name in values})
        for name, array in values.items():
            own[name].append(array)
        self._text.setdefault(head, []).append(self._texts + rows)

    def observations(self) -> Observations:
        """Everything that was taken in."""
        heads = {
            head: Seen(
                values={name: np.concatenate(parts).astype(np.float64) for name, parts in values.items()},
                text=np.concatenate(self._text[head]),
            )
            for head, values in self._values.items()
        }
        if "embedding" in heads and len(heads["embedding"].text) >= vectors.FEWEST_TEXTS:
            expected, got = (np.concatenate(side) for side in zip(*self._vectors, strict=True))
            heads["embedding"].values["neighbours"] = vectors.shared_neighbours(expected, got)
        return Observations(heads=heads, texts=self._texts)


def _mlm(expected: Logits, got: Logits, labels: NDArray[np.int64]) -> Quantities:
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


def nsp_quantities(batch: Batch, expected: Logits | None, got: Logits | None) -> Quantities | None:
    """Quantities of the labelled pairs, from logits (B, 2) of all; None where there is nothing to compare."""
    pairs = batch.labels["nsp"] != NO_LABEL  # not every pair has a label: see bertedge.data.pairs
    if expected is None or got is None or not pairs.any():
        return None
    one, other, labels = expected[pairs], got[pairs], batch.labels["nsp"][pairs]
    first, answer = one.argmax(axis=1), answers(other)
    return {
        "flip": first != answer,
        "prob_diff": np.abs(np.exp(log_softmax(one)[:, 0]) - np.exp(log_softmax(other)[:, 0])),
        "reference_hit": first == labels,
        "hit": answer == labels,
    }


def answers(logits: Logits) -> NDArray[np.int64]:
    """The best of each row; -1, which is never right, where a candidate computed no numbers."""
    return np.where(np.isfinite(logits.max(axis=-1)), logits.argmax(axis=-1), -1)


def log_softmax(logits: Logits) -> Logits:
    """Log probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _best(logits: Logits) -> NDArray[np.int64]:
    return np.argpartition(-logits, min(TOP, logits.shape[1]) - 1, axis=1)[:, :TOP]
