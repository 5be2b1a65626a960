"""Rows become a batch again: padded with zeros, and without a copy where an engine computed them as one batch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bertedge.runtime.row_runner import joined_rows

BATCH = np.arange(24, dtype=np.float32).reshape(3, 4, 2) + 1


def test_rows_of_one_batch_are_not_copied() -> None:
    for batch, width in ((BATCH, 4), (BATCH[:1].copy(), 4), (BATCH[:, 0].copy(), None)):
        assert joined_rows(list(batch), width) is batch
    assert not np.shares_memory(joined_rows([BATCH[0]], 4), BATCH)  # one row of a larger batch


@pytest.mark.parametrize(
    "rows",
    [
        [BATCH[1], BATCH[0], BATCH[2]],  # another order
        [BATCH[0], BATCH[0], BATCH[2]],
        [BATCH[0, :2], BATCH[1, :2], BATCH[2, :2]],  # what is behind them is not theirs
        [BATCH[0], BATCH[1, :0], BATCH[2, :3]],
        [row.copy() for row in BATCH],
    ],
)
def test_other_rows_are_padded_with_zeros(rows: list[NDArray[np.float32]]) -> None:
    joined = joined_rows(rows, 4)
    assert joined.shape == (3, 4, 2)
    for row, found in zip(rows, joined, strict=True):
        assert np.array_equal(found[: len(row)], row)
        assert not found[len(row) :].any()
