"""The inputs of a graph: a batch's arrays under the names that the graph gives them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from bertedge.predictor import Batch


def feed(batch: Batch, inputs: Collection[str], *, everywhere: bool = False) -> dict[str, NDArray[np.int64]]:
    """A batch as a graph takes it, with its padding.

    Args:
        inputs: the names of the graph's inputs; arrays that it does not take are left out.
        everywhere: read every head and the hidden states at every position, whatever the batch says.
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
