"""Texts and padded batches on any engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import EncoderConfig
from bertedge.engines import Executor
from bertedge.errors import UsageError
from bertedge.heads import HEADS, without_every
from bertedge.predictor import Batch, Outputs, Row, RowOutputs

T = TypeVar("T")
#: Outputs with a row for each masked position, or for each token.
READ_AT = {head.key: head.reads for head in HEADS.values() if head.reads in ("masked", "every")}
#: Largest number of texts that are encoded together.
MOST_SEGMENTS = 2


@dataclass(kw_only=True, eq=False)
class RowRunner:
    """A loaded model; see :class:`bertedge.predictor.Predictor`.

    Attributes:
        config: the model's sizes; inputs are checked against them.
        row_independent: a row's result does not depend on the other outputs that are read from it.
    """

    name: str
    executor: Executor
    config: EncoderConfig
    row_independent: bool

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run texts of any lengths; see :meth:`bertedge.engines.engine.Executor.run`.

        Raises:
            UsageError: an id, a segment or a position is out of range.
        """
        for row in rows:
            self.check(row)
        return self.executor.run(rows, read)

    def predict(self, batch: Batch) -> Outputs:
        """Run a padded batch. The model runs without the padding; outputs at padding are zeros."""
        if batch.hidden and not self.row_independent:
            # all rows that are read share one range of activations: reading hidden states would change the logits
            nothing = np.zeros((len(batch.input_ids), 0), dtype=np.int64)
            everywhere = self._predict(replace(batch, masked_positions=nothing, labels={})).arrays()
            others = self._predict(replace(batch, hidden=False)).arrays() if without_every(everywhere) else {}
            return Outputs.of(everywhere | others)
        return self._predict(batch)

    def _predict(self, batch: Batch) -> Outputs:
        results = self.run(rows_of(batch), lambda outputs: outputs)
        extents = {"masked": batch.masked_positions.shape[1], "every": batch.input_ids.shape[1], None: None}
        first = results[0] if results else {}
        joined = {
            name: joined_rows([row[name] for row in results], extents[READ_AT.get(name)])
            for name in (first if batch.hidden else without_every(first))
        }
        return Outputs.of(joined)

    def check(self, row: Row) -> None:
        """Refuse a row that does not fit the model.

        Raises:
            UsageError: an id, a segment or a position is out of range.
        """
        config, length = self.config, len(row.input_ids)
        max_length = config.max_length
        if not 0 < length <= max_length:
            raise UsageError(f"a text has {length} tokens, expected 1 to {max_length}", "shorten or split the text")
        token_types = config.type_vocab_size or MOST_SEGMENTS  # a model without token types ignores them
        for name, values, limit in (
            ("input_ids", row.input_ids, config.vocab_size),
            ("token_type_ids", row.token_type_ids, token_types),
            ("masked_positions", row.masked_positions, length),
        ):
            if values.size and values.astype(np.uint64).max() >= limit:  # negative ids become large
                bad = next(value for value in values.tolist() if not 0 <= value < limit)
                raise UsageError(
                    f"{name}: {bad} is out of range, expected 0 to {limit - 1}",
                    "encode with the bundle's own tokenizer",
                )


def rows_of(batch: Batch) -> list[Row]:
    """The texts of a padded batch, without padding."""
    counts, lengths = batch.filled.sum(axis=1), batch.lengths
    return [
        Row(
            input_ids=batch.input_ids[i, :length],
            token_type_ids=batch.token_type_ids[i, :length],
            masked_positions=batch.masked_positions[i, : counts[i]],
            hidden=batch.hidden,
        )
        for i, length in enumerate(lengths)
    ]


def joined_rows(rows: Sequence[NDArray[np.float32]], width: int | None) -> NDArray[np.float32]:
    """One array of all rows, each padded with zeros.

    Rows that an engine computed as one batch already lie in one array, which is returned without a copy.

    Args:
        rows: arrays of shape (W, ...), or (D,) where ``width`` is None.
        width: the extent that W is padded to.
    """
    first = rows[0]
    shape = (len(rows), *first.shape) if width is None else (len(rows), width, *first.shape[1:])
    whole = first.base
    if isinstance(whole, np.ndarray) and whole.shape == shape and _are_rows_of(whole, rows):
        return whole
    joined = np.zeros(shape, dtype=np.float32)
    for place, row in enumerate(rows):
        joined[place, : len(row)] = row
    return joined


def _are_rows_of(whole: NDArray[np.float32], rows: Sequence[NDArray[np.float32]]) -> bool:
    """Whether an array consists of these rows, in their order."""
    if len(rows) == 1:
        return rows[0].shape == whole.shape[1:]
    start, step = _address(whole), whole.strides[0]
    return all(
        row.base is whole and row.shape == whole.shape[1:] and _address(row) == start + place * step
        for place, row in enumerate(rows)
    )


def _address(array: NDArray[np.float32]) -> int:
    return array.__array_interface__["data"][0]
