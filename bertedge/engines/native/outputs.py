"""The arrays that the native engine writes its outputs to."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.engines.native import library as c
from bertedge.engines.native.description import Description
from bertedge.predictor import HIDDEN_STATES, POOLER_OUTPUT, Row, RowOutputs

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class OutputSizes:
    """What a model gives.

    Attributes:
        hidden: width of the states.
        pooler: whether it has a pooler.
        heads: name -> what it reads, and the numbers that it gives for each; see :class:`bertedge.plan.StoredHead`.
    """

    hidden: int
    pooler: bool
    heads: Mapping[str, tuple[str, int]]

    @classmethod
    def of(cls, description: Description, hidden: int) -> OutputSizes:
        """The sizes of a described model."""
        plan = description.plan
        sizes = {name: (head.reads, plan.layers[head.steps[-1].name].outputs) for name, head in plan.heads.items()}
        return cls(hidden=hidden, pooler="pooler" in plan.layers, heads=sizes)


class CallOutputs:
    """The outputs of the texts of one call; iterate over it for those of each text.

    Attributes:
        struct: the ``be_outputs`` of the call.
    """

    def __init__(self, sizes: OutputSizes, rows: Sequence[Row]) -> None:
        self._rows = rows
        hidden, one = rows[0].hidden, len(rows) == 1
        tokens = len(rows[0].input_ids) if one else sum(len(row.input_ids) for row in rows)
        masked = len(rows[0].masked_positions) if one else sum(len(row.masked_positions) for row in rows)
        counts = {"every": tokens if hidden else 0, "masked": masked}
        self._by_token = {HIDDEN_STATES: np.empty((counts["every"], sizes.hidden), dtype=np.float32)}
        self._by_mask: RowOutputs = {}
        self._by_text: RowOutputs = {}
        if sizes.pooler:
            self._by_text[POOLER_OUTPUT] = np.empty((len(rows), sizes.hidden), dtype=np.float32)
        groups = {"every": self._by_token, "masked": self._by_mask}
        addresses = []
        for name, (reads, size) in sizes.heads.items():
            array = np.empty((counts.get(reads, len(rows)), size), dtype=np.float32)
            groups.get(reads, self._by_text)[name] = array
            addresses.append(_address(array))
        self._addresses = (ctypes.c_void_p * len(addresses))(*addresses)
        pooler = self._by_text.get(POOLER_OUTPUT)
        self.struct = c.Outputs(
            _address(self._by_token[HIDDEN_STATES]),
            None if pooler is None else pooler.ctypes.data,
            ctypes.addressof(self._addresses),
        )

    def only(self) -> RowOutputs:
        """The outputs of a single text."""
        return {**self._by_token, **self._by_mask, **{name: array[0] for name, array in self._by_text.items()}}

    def __iter__(self) -> Iterator[RowOutputs]:
        token = mask = 0
        for place, row in enumerate(self._rows):
            last, after = token + len(row.input_ids), mask + len(row.masked_positions)
            outputs = {name: array[token:last] for name, array in self._by_token.items()}
            outputs |= {name: array[mask:after] for name, array in self._by_mask.items()}
            yield outputs | {name: array[place] for name, array in self._by_text.items()}
            token, mask = last, after


def _address(array: Floats) -> int | None:
    """Where an array is; None for an empty one, whose output is not computed."""
    return array.ctypes.data if array.size else None
