"""Rows of any lengths through a session, without padding and without one row touching another.

Rows of equal length run together and nothing is ever padded, so a result depends on its own text alone. Where the
model takes the range of its activations from the whole input (``row_independent`` is false), every row runs by
itself, for sharing a batch would mean sharing a range. Either way short texts never wait for long ones. Where there
are many such groups, each core takes one after the other: see :mod:`bertedge.engines.side_by_side`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import EncoderConfig
from bertedge.engines.onnxruntime.session import Run
from bertedge.engines.side_by_side import side_by_side
from bertedge.errors import UsageError
from bertedge.manifest import OUTPUT_NAMES
from bertedge.predictor import HIDDEN_STATES, Batch, Outputs, RowOutputs

T = TypeVar("T")

#: Tokens that run together at most: enough to fill the cores, little enough to stay in the cache.
TOKENS_AT_ONCE = 512
#: Groups for each core from which on they run side by side: with fewer, some cores would wait for the last group.
GROUPS_A_CORE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One encoded text and what is read from it: ids and segments (S,), masked positions (K,), hidden states or not."""

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    masked_positions: NDArray[np.int64]
    hidden: bool = False


#: A float32 multiply-accumulate takes as long as so many int8 ones.
FLOAT_MAC_COST = 4

#: ``logits_end`` where no word is asked for.
NOWHERE = np.zeros(1, dtype=np.int64)


class Model(Protocol):
    """A loaded model: :class:`bertedge.engines.onnxruntime.session.Sessions`, or one that computes the same."""

    @property
    def input_names(self) -> frozenset[str]: ...

    @property
    def callers(self) -> int: ...

    def run(self, feed: dict[str, NDArray[np.int64]], work: int) -> dict[str, NDArray[np.float32]]: ...

    def run_alone(self) -> Run: ...


class Engine:
    """Runs rows on a model.

    Args:
        sessions: the loaded model.
        all_positions: the graph computes the MLM head everywhere or nowhere, under the ecosystem's names.
        row_independent: a row of a batch comes out the same whatever is beside it.
        int8_share: the share of the multiply-accumulates that is int8.
        config: the model's sizes, which inputs are checked against.
    """

    def __init__(
        self,
        sessions: Model,
        config: EncoderConfig,
        *,
        all_positions: bool,
        row_independent: bool,
        int8_share: float = 0.0,
    ) -> None:
        self._sessions = sessions
        self._config = config
        self._all_positions = all_positions
        self._names = OUTPUT_NAMES["all" if all_positions else "masked"]
        # a model without the head has nothing to spare, and one that an earlier version wrote cannot
        self._head_can_rest = "logits_end" in sessions.input_names
        self._row_independent = row_independent
        self._mac_cost = int8_share + FLOAT_MAC_COST * (1 - int8_share)

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run rows in any order of lengths; results come in the order of the rows.

        Args:
            read: makes of a row's outputs what is kept of them, soon after they are there; so thousands of rows take
                no more memory than a few. It may be called from several threads at once.

        Raises:
            UsageError: an id, a segment or a position is out of range.
        """

        def read_group(values: RowOutputs) -> list[T]:
            size = len(next(iter(values.values())))
            return [read({name: value[place] for name, value in values.items()}) for place in range(size)]

        results: dict[int, T] = {}
        for group, kept in self._run_groups(rows, read_group):
            results.update(zip(group, kept, strict=True))
        return [results[index] for index in range(len(rows))]

    def predict(self, batch: Batch) -> Outputs:
        """Run a padded batch; padding and filling are cut away before, and zeros put in their place after."""
        if batch.hidden and not self._row_independent:
            # what is read together shares a range, so hidden states are read as ``encode`` does: by themselves
            nothing = np.zeros((len(batch.input_ids), 0), dtype=np.int64)
            states = self._predict(replace(batch, masked_positions=nothing, labels={}))
            return replace(self._predict(replace(batch, hidden=False)), hidden_states=states.hidden_states)
        return self._predict(batch)

    def _predict(self, batch: Batch) -> Outputs:
        counts, lengths = batch.filled.sum(axis=1), batch.lengths
        rows = [
            Row(
                input_ids=batch.input_ids[i, :length],
                token_type_ids=batch.token_type_ids[i, :length],
                masked_positions=batch.masked_positions[i, : counts[i]],
                hidden=batch.hidden,
            )
            for i, length in enumerate(lengths)
        ]
        widths = {"mlm": batch.masked_positions.shape[1], HIDDEN_STATES: batch.input_ids.shape[1]}
        padded: RowOutputs = {}
        for group, values in self._run_groups(rows, lambda values: values):
            there = {name: array for name, array in values.items() if batch.hidden or name != HIDDEN_STATES}
            if len(group) == len(rows) and all(there[n].shape[1] == widths[n] for n in there.keys() & widths.keys()):
                return Outputs.of(there)  # nothing to move
            for name, array in there.items():
                if name not in padded:
                    shape = (len(rows), widths.get(name, array.shape[1]), *array.shape[2:])
                    padded[name] = np.zeros(shape, dtype=np.float32)
                padded[name][group, : array.shape[1]] = array
        return Outputs.of(padded)

    def _run_groups(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> Iterator[tuple[list[int], T]]:
        """The rows' indices and what was read of their outputs, group by group; these have a batch dimension here."""
        for row in rows:
            self._check(row)
        groups = list(self._groups(rows))
        cores = self._sessions.callers
        if cores == 1 or len(groups) < GROUPS_A_CORE * cores:
            for group in groups:
                yield group, read(self._run_group([rows[i] for i in group], self._sessions.run))
            return
        alone = self._sessions.run_alone()
        # the costliest first, so that no core is left with a long one at the end
        groups.sort(key=lambda group: len(group) * len(rows[group[0]].input_ids), reverse=True)
        yield from side_by_side(
            lambda group: read(self._run_group([rows[i] for i in group], alone)), groups, threads=cores
        )

    def _groups(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        """Indices of rows that can run as one batch: same length, same number of masked positions, same outputs."""
        alike: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            alike[len(row.input_ids), len(row.masked_positions), row.hidden].append(index)
        for (length, *_), members in sorted(alike.items()):
            size = max(1, TOKENS_AT_ONCE // length) if self._row_independent else 1
            for start in range(0, len(members), size):
                yield members[start : start + size]

    def _run_group(self, rows: Sequence[Row], run: Run) -> RowOutputs:
        input_ids = _stack([row.input_ids for row in rows])
        feed = {
            "input_ids": input_ids,
            "attention_mask": np.ones_like(input_ids),
            "token_type_ids": _stack([row.token_type_ids for row in rows]),
        }
        positions = _stack([row.masked_positions for row in rows])
        length, decoded = input_ids.shape[1], positions.shape[1]
        if not self._all_positions:
            feed["masked_positions"] = positions
            if rows[0].hidden:
                feed["hidden_positions"] = np.arange(length, dtype=np.int64)
        elif decoded or not self._head_can_rest:
            decoded = length
        else:
            feed["logits_end"] = NOWHERE
        values = run(feed, self._work(len(rows), length, decoded))
        named = {self._names[name]: array for name, array in values.items()}
        if self._all_positions and "mlm" in named:
            named["mlm"] = np.take_along_axis(named["mlm"], positions[:, :, None], axis=1)
        return named

    def _work(self, rows: int, length: int, decoded: int) -> int:
        """What a call costs in int8 multiply-accumulates, roughly: the linear layers of the blocks and the decoder."""
        config = self._config
        macs = rows * (length * config.block_macs + decoded * config.hidden_size * config.vocab_size)
        return int(macs * self._mac_cost)

    def _check(self, row: Row) -> None:
        config, length = self._config, len(row.input_ids)
        max_length = config.max_position_embeddings
        if not 0 < length <= max_length:
            raise UsageError(f"a text has {length} tokens, expected 1 to {max_length}", "shorten or split the text")
        for name, values, limit in (
            ("input_ids", row.input_ids, config.vocab_size),
            ("token_type_ids", row.token_type_ids, config.type_vocab_size),
            ("masked_positions", row.masked_positions, length),
        ):
            if not values.size:
                continue
            low, high = values.min(), values.max()
            if low < 0 or high >= limit:
                bad = low if low < 0 else high
                raise UsageError(
                    f"{name}: {bad} is out of range, expected 0 to {limit - 1}",
                    "encode with the bundle's own tokenizer",
                )


def _stack(arrays: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """``np.stack``, without its checks and its copy where there is a single array."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
