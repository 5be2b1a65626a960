"""Run rows of any lengths on an ONNX model, without padding. Rows do not affect each other.

Rows of equal length run together and nothing is padded, so a result depends only on its own text. Where the model
takes the range of its activations from the whole input (``row_independent`` is false), every row runs separately,
because rows of one batch would share a range. Short texts never wait for long ones. If there are many groups, each
core runs one group after the other; see :mod:`bertedge.engines.side_by_side`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import EncoderConfig
from bertedge.engines.onnxruntime.feed import Feed, rows_feed, stacked
from bertedge.engines.onnxruntime.sessions import Run
from bertedge.engines.side_by_side import side_by_side
from bertedge.heads import take_masked
from bertedge.heads.parts import Parts
from bertedge.predictor import Row, RowOutputs, by_key

T = TypeVar("T")

#: Largest number of tokens in a call: enough to keep the cores busy, few enough for the CPU's cache.
TOKENS_AT_ONCE = 512
#: Groups per core from which on groups run at the same time; with fewer, some cores would wait for the last group.
GROUPS_A_CORE = 2
#: int8 multiply-accumulates that take as long as one of float32.
FLOAT_MAC_COST = 4
#: ``logits_end`` of a call that reads no masked position.
NO_POSITION = np.zeros(1, dtype=np.int64)


class Model(Protocol):
    """A loaded model: :class:`bertedge.engines.onnxruntime.sessions.Sessions`, or one that computes the same."""

    @property
    def input_names(self) -> frozenset[str]: ...

    @property
    def callers(self) -> int: ...

    def run(self, feed: Feed, work: int) -> dict[str, NDArray[np.float32]]: ...

    def run_alone(self) -> Run: ...


class GroupingExecutor:
    """Runs rows on a model; see :class:`bertedge.engines.engine.Executor`.

    Args:
        parts: the parts of the model.
        all_positions: the graph computes the MLM head at every position or at none, and has the ecosystem's names.
        row_independent: a row's result does not depend on the other rows of its batch.
        int8_share: the share of the multiply-accumulates that is int8.
    """

    def __init__(
        self,
        model: Model,
        config: EncoderConfig,
        *,
        parts: Parts,
        all_positions: bool,
        row_independent: bool,
        int8_share: float = 0.0,
    ) -> None:
        self._model = model
        self._config = config
        self._all_positions, self._decodes = all_positions, parts.reads_masked
        self._outputs = parts.outputs_by_key("all" if all_positions else "masked")
        self._head_is_optional = "logits_end" in model.input_names
        self._row_independent = row_independent
        self._mac_cost = int8_share + FLOAT_MAC_COST * (1 - int8_share)

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run rows; see :meth:`bertedge.engines.engine.Executor.run`."""

        def read_group(values: RowOutputs) -> list[T]:
            size = len(next(iter(values.values())))
            return [read({name: value[place] for name, value in values.items()}) for place in range(size)]

        if len(rows) == 1:  # in small calls microseconds matter
            return read_group(self._run_group(rows, self._model.run))
        results: dict[int, T] = {}
        for group, kept in self._run_groups(rows, read_group):
            results.update(zip(group, kept, strict=True))
        return [results[index] for index in range(len(rows))]

    def feed(self, rows: Sequence[Row]) -> Feed:
        """The inputs of the graph for rows of one length, with the same number of masked positions."""
        feed = rows_feed(rows, self._model.input_names)
        if self._head_is_optional and not len(rows[0].masked_positions):
            feed["logits_end"] = NO_POSITION
        return feed

    def _run_groups(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> Iterator[tuple[list[int], T]]:
        """The rows' indices and what was read from their outputs, group by group; outputs have a batch dimension."""
        groups = list(self._groups(rows))
        cores = self._model.callers
        if cores == 1 or len(groups) < GROUPS_A_CORE * cores:
            for group in groups:
                yield group, read(self._run_group([rows[i] for i in group], self._model.run))
            return
        alone = self._model.run_alone()
        # the most expensive group first, so that no core works on a long group while the others have finished
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
        values = run(self.feed(rows), self._work(rows))
        named = by_key(values, self._outputs)
        return take_masked(named, stacked([row.masked_positions for row in rows])) if self._all_positions else named

    def _work(self, rows: Sequence[Row]) -> int:
        """Rough cost of a call in int8 multiply-accumulates: the linear layers of the blocks, and the decoder."""
        config, length = self._config, len(rows[0].input_ids)
        decoded = len(rows[0].masked_positions) if self._decodes else 0
        if self._decodes and self._all_positions and (decoded or not self._head_is_optional):
            decoded = length
        macs = len(rows) * (length * config.block_macs + decoded * config.embedding_width * config.vocab_size)
        return int(macs * self._mac_cost)
