"""Whether the outputs of a text depend on the other texts of its batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.evaluate.metrics import INVARIANCE
from bertedge.heads import HEADS
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Predictor

#: The number of texts of different lengths that run in one batch.
TEXTS = 8


def invariance(predictor: Predictor, batch: Batch, prefix: str = INVARIANCE) -> dict[str, MetricValue]:
    """How much a text's outputs change when it runs in a padded batch instead of alone.

    Rows are cut to different lengths, so that the batch has padding. Masked positions beyond the cut are left out.
    A predictor that never pads shows no change; :meth:`bertedge.runtime.BertRuntime.padded` returns one that pads.

    Returns:
        ``<prefix>max_prob_diff``, the largest difference of a probability, if the model gives probabilities; and
        ``<prefix>max_vector_diff``, the largest difference of a mean vector relative to its length.
    """
    rows = min(TEXTS, len(batch.input_ids))
    lengths = np.maximum(batch.lengths[:rows] * (1 + np.arange(rows)) // rows, 3)
    together = _cut(batch, slice(0, rows), lengths)
    among = predictor.predict(together)
    differences: dict[str, list[float]] = {}
    for row in range(rows):
        single = _cut(batch, slice(row, row + 1), lengths[row : row + 1])
        alone = predictor.predict(single)
        for head in HEADS.values():
            change = head.change(single, row, among, alone)
            if change is not None:
                differences.setdefault(f"{prefix}{head.max_change}", []).append(change)
    # numpy, because the built-in max() can ignore NaN
    worst = {name: float(np.max(found)) for name, found in differences.items()}
    return {name: MetricValue(value=value, low=value, high=value, n=rows) for name, value in worst.items()}


def _cut(batch: Batch, rows: slice, lengths: NDArray[np.int64]) -> Batch:
    """Some rows of a batch, cut to some lengths and padded to the longest of them."""
    width = int(lengths.max())
    keep = np.arange(width) < lengths[:, None]
    inside = (batch.masked_positions[rows] < lengths[:, None]) & batch.filled[rows]
    return Batch(
        input_ids=np.where(keep, batch.input_ids[rows, :width], 0),
        attention_mask=keep.astype(np.int64),
        token_type_ids=np.where(keep, batch.token_type_ids[rows, :width], 0),
        masked_positions=np.where(inside, batch.masked_positions[rows], 0),
        masked_counts=inside.sum(axis=1),
        labels={head: labels[rows] for head, labels in batch.labels.items()},
        hidden=True,
    )
