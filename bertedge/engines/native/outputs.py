"""The arrays that the native engine writes its outputs to."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

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

    Where all texts have the same number of tokens, their outputs are rows of one array (texts, tokens, ...).

    Attributes:
        struct: the ``be_outputs`` of the call.
    """

    def __init__(self, sizes: OutputSizes, rows: Sequence[Row]) -> None:
        texts = len(rows)
        #: What is read -> where the rows of each text begin, and where the last one ends; None if texts are alike.
        self._starts: dict[str, list[int] | None] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        lengths = [len(row.input_ids) if row.hidden else 0 for row in rows]
        for reads, counts in (("every", lengths), ("masked", [len(row.masked_positions) for row in rows])):
            alike = texts == 1 or min(counts) == max(counts)
            self._starts[reads] = None if alike else [0, *accumulate(counts)]
            shapes[reads] = (texts, counts[0]) if alike else (sum(counts),)
        self._texts, self._arrays = texts, {HIDDEN_STATES: _empty(shapes["every"], sizes.hidden)}
        self._reads = {HIDDEN_STATES: "every"}
        if sizes.pooler:
            self._arrays[POOLER_OUTPUT] = _empty((texts,), sizes.hidden)
        for name, (reads, size) in sizes.heads.items():
            self._arrays[name], self._reads[name] = _empty(shapes.get(reads, (texts,)), size), reads
        addresses = [_address(self._arrays[name]) for name in sizes.heads]
        self._addresses = (ctypes.c_void_p * len(addresses))(*addresses)
        self.struct = c.Outputs(
            _address(self._arrays[HIDDEN_STATES]),
            _address(self._arrays[POOLER_OUTPUT]) if sizes.pooler else None,
            ctypes.addressof(self._addresses),
        )

    def only(self) -> RowOutputs:
        """The outputs of a single text."""
        return {name: array[0] for name, array in self._arrays.items()}

    def __iter__(self) -> Iterator[RowOutputs]:
        starts = {name: self._starts.get(self._reads.get(name, "")) for name in self._arrays}
        for text in range(self._texts):
            yield {
                name: array[text] if (places := starts[name]) is None else array[places[text] : places[text + 1]]
                for name, array in self._arrays.items()
            }


def _empty(shape: tuple[int, ...], size: int) -> Floats:
    return np.empty((*shape, size), dtype=np.float32)


def _address(array: Floats) -> int | None:
    """Where an array is; None for an empty one, whose output is not computed."""
    return array.ctypes.data if array.size else None
