"""Collects observations of a candidate and its reference batch by batch: one number for each quantity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.evaluate.bootstrap import Observations, Seen
from bertedge.heads import HEADS
from bertedge.heads.head import Arrays, Observed
from bertedge.heads.parts import HeadSettings
from bertedge.predictor import Batch, Outputs

#: Head -> the arrays of one model that are compared; see :meth:`bertedge.heads.Head.read`.
Readings = dict[str, Arrays]


def read_outputs(batch: Batch, outputs: Outputs, settings: Any, heads: Iterable[str] = HEADS) -> Readings:
    """The arrays to compare, for each of these heads that the model has and the batch has labels for."""
    found = {name: HEADS[name].read(batch, outputs, getattr(settings, name, None)) for name in heads}
    return {name: arrays for name, arrays in found.items() if arrays}


class Collector:
    """Collects one number for each quantity and observation. Outputs are not kept.

    Args:
        settings: those of the model's heads, as :data:`bertedge.heads.parts.HeadSettings`.
    """

    def __init__(self, settings: Any = None) -> None:
        self._settings = settings or HeadSettings()
        self._values: dict[str, dict[str, list[NDArray]]] = {}
        self._text: dict[str, list[NDArray]] = {}
        self._head_of: dict[str, str] = {}
        self._texts = 0

    def add(self, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """Compare a candidate's outputs with the reference's."""
        one, other = (read_outputs(batch, outputs, self._settings) for outputs in (expected, got))
        self._add(
            batch,
            {name: HEADS[name].compare(batch, one[name], other[name], self._of(name)) for name in _both(one, other)},
        )

    def add_kept(self, batch: Batch, kept: Readings, got: Outputs) -> None:
        """Compare a candidate's outputs with kept arrays of the reference; see :meth:`bertedge.heads.Head.keep`."""
        own = read_outputs(batch, got, self._settings)
        self._add(
            batch,
            {name: HEADS[name].compare_kept(batch, kept[name], own[name], self._of(name)) for name in _both(kept, own)},
        )

    def _of(self, head: str) -> Any:
        return getattr(self._settings, head, None)

    def observations(self) -> Observations:
        """The observations of all batches."""
        groups = {}
        for group, parts in self._values.items():
            whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
            head = HEADS[self._head_of[group]]
            together = head.together(group, whole)
            values = head.finish(group, whole)
            groups[group] = Seen(
                values={name: array.astype(np.float64) for name, array in values.items()},
                text=np.concatenate(self._text[group]),
                together=together,
            )
        return Observations(groups=groups, texts=self._texts)

    def _add(self, batch: Batch, observed: Mapping[str, Mapping[str, Observed]]) -> None:
        for head, groups in observed.items():
            for group, seen in groups.items():
                self._head_of[group] = head
                own = self._values.setdefault(group, {name: [] for name in seen.values})
                for name, array in seen.values.items():
                    own[name].append(array)
                self._text.setdefault(group, []).append(self._texts + seen.rows)
        self._texts += len(batch.input_ids)


def _both(one: Readings, other: Readings) -> list[str]:
    return [name for name in one if name in other]
