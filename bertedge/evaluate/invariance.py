"""Whether the outputs of a text depend on the texts that run with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bertedge.evaluate import vectors
from bertedge.evaluate.collector import Logits, log_softmax
from bertedge.evaluate.metrics import INVARIANCE, MetricValue
from bertedge.predictor import NO_LABEL, Batch, Outputs, Predictor

#: Rows of unequal lengths that a text is put among to see whether that changes it.
STRANGERS = 8


def invariance(predictor: Predictor, batch: Batch, prefix: str = INVARIANCE) -> dict[str, MetricValue]:
    """How much a text's outputs change when it runs padded among other texts instead of alone.

    Rows are cut to different lengths first, so that there is padding; masked positions beyond the cut are left out.
    A predictor that never pads has nothing to show here; :meth:`bertedge.runtime.BertRuntime.padded` has.

    Returns:
        ``<prefix>max_prob_diff``, the largest difference of a probability, and ``<prefix>max_vector_diff``, that of the
        mean vector relative to its length; each as far as the model has it.
    """
    rows = min(STRANGERS, len(batch.input_ids))
    lengths = np.maximum(batch.lengths[:rows] * (1 + np.arange(rows)) // rows, 3)
    together = _cut(batch, slice(0, rows), lengths)
    among = predictor.predict(together)
    differences: dict[str, list[float]] = {}
    for row in range(rows):
        single = _cut(batch, slice(row, row + 1), lengths[row : row + 1])
        for name, difference in _changes_of_row(row, single, among, predictor.predict(single)):
            differences.setdefault(f"{prefix}{name}", []).append(difference)
    # unlike max(), numpy's passes NaN on
    worst = {name: float(np.max(found)) for name, found in differences.items()}
    return {name: MetricValue(value=value, low=value, high=value, n=rows) for name, value in worst.items()}


def _changes_of_row(row: int, single: Batch, among: Outputs, alone: Outputs) -> Iterator[tuple[str, float]]:
    """(name of the metric, difference) of each output of one row of ``among`` and the only row of ``alone``."""
    filled = single.filled[0]
    both = among.logits.keys() & alone.logits.keys()
    if "mlm" in both:
        here, there = among.logits["mlm"][row], alone.logits["mlm"][0]
        yield "max_prob_diff", _largest_change(here[: len(filled)][filled], there[filled])
    if "nsp" in both:
        yield "max_prob_diff", _largest_change(among.logits["nsp"][row], alone.logits["nsp"][0])
    if among.hidden_states is not None and alone.hidden_states is not None:
        length = int(single.lengths[0])
        here, there = (
            states[:length].mean(axis=0)[None] for states in (among.hidden_states[row], alone.hidden_states[0])
        )
        yield "max_vector_diff", float(vectors.quantities(there, here)["relative_error"][0])


def _largest_change(here: Logits, there: Logits) -> float:
    return float(np.abs(np.exp(log_softmax(here)) - np.exp(log_softmax(there))).max(initial=0.0))


def _cut(batch: Batch, rows: slice, lengths: NDArray[np.int64]) -> Batch:
    """Some rows of a batch, shortened, padded to the longest of them."""
    width = int(lengths.max())
    keep = np.arange(width) < lengths[:, None]
    inside = (batch.masked_positions[rows] < lengths[:, None]) & batch.filled[rows]
    return Batch(
        input_ids=np.where(keep, batch.input_ids[rows, :width], 0),
        attention_mask=keep.astype(np.int64),
        token_type_ids=np.where(keep, batch.token_type_ids[rows, :width], 0),
        masked_positions=np.where(inside, batch.masked_positions[rows], 0),
        labels={"mlm": np.where(inside, batch.labels["mlm"][rows], NO_LABEL), "nsp": batch.labels["nsp"][rows]},
        hidden=True,
    )
