"""The inputs of a graph: arrays of texts under the names that the graph gives them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from bertedge.predictor import Batch, Row

Feed = dict[str, NDArray[np.int64]]


def feed(batch: Batch, inputs: Collection[str], *, everywhere: bool = False) -> Feed:
    """A batch as a graph takes it, with its padding.

    Args:
        inputs: the names of the graph's inputs; arrays that it does not take are left out.
        everywhere: read every head and the hidden states at every position, even if the batch asks for less.
    """
    positions = np.arange(batch.input_ids.shape[1], dtype=np.int64)
    arrays = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
        "masked_positions": np.tile(positions, (len(batch.input_ids), 1)) if everywhere else batch.masked_positions,
    }
    if everywhere or batch.hidden:
        arrays["hidden_positions"] = positions
    return {name: array for name, array in arrays.items() if name in inputs}


def rows_feed(rows: Sequence[Row], inputs: Collection[str]) -> Feed:
    """Rows of one length, with the same number of masked positions, as a graph takes them."""
    input_ids = stacked([row.input_ids for row in rows])
    arrays = {
        "input_ids": input_ids,
        "attention_mask": np.ones_like(input_ids),
        "token_type_ids": stacked([row.token_type_ids for row in rows]),
        "masked_positions": stacked([row.masked_positions for row in rows]),
    }
    if rows[0].hidden:
        arrays["hidden_positions"] = np.arange(input_ids.shape[1], dtype=np.int64)
    return {name: array for name, array in arrays.items() if name in inputs}


def stacked(arrays: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """As ``np.stack``, but faster: without its checks, and without a copy of a single array."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
