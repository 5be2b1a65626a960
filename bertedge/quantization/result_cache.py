"""A cache of results, for quantizing one checkpoint several times with different recipes.

Calibration runs the float model, and compensated rounding solves a system for each layer. ``tune`` and the sensitivity
measurement try many recipes for one checkpoint and one text, and do both only once.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bertedge.graph.formats import BlockWeights
from bertedge.graph.rounding import QuantizedRows, Rounding, Roundings
from bertedge.graph.weight_blocks import QuantizedBlocks
from bertedge.quantization.compensate import Products
from bertedge.quantization.observers import Channels
from bertedge.weight_range import WeightRange

Results = dict[Hashable, QuantizedRows | QuantizedBlocks]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """What calibration observed: value name -> its channels, and the products of its inputs if they were asked for."""

    channels: dict[str, Channels]
    products: dict[str, Products]


@dataclass(kw_only=True, eq=False)
class Cache:
    """Results for one checkpoint and one text.

    Attributes:
        observed: settings of a calibration -> what it observed.
    """

    observed: dict[Hashable, Observed] = field(default_factory=dict)
    _rounded: Results = field(default_factory=dict)
    _rounded_by: Hashable = None

    def cached(self, roundings: Roundings, key: Hashable) -> Roundings:
        """Roundings that keep their results, so that each matrix is rounded once per key.

        Args:
            key: everything that the roundings depend on, except the layer.
        """
        if key != self._rounded_by:  # results take as much memory as the model: keep those of one key
            self._rounded, self._rounded_by = {}, key
        results = self._rounded
        return lambda layer: _CachedRounding(roundings(layer), (layer,), results)


@dataclass(frozen=True, eq=False)
class _CachedRounding:
    """A rounding that looks up its results; the key holds the layer and every change made to its matrix."""

    rounding: Rounding
    key: tuple[Hashable, ...]
    results: Results

    def __call__(self, matrix: NDArray[np.float32], weight_range: WeightRange) -> QuantizedRows:
        key = (*self.key, matrix.shape, weight_range)
        if key not in self.results:
            self.results[key] = self.rounding(matrix, weight_range)
        return self.results[key]  # type: ignore[return-value]

    def in_blocks(self, matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
        key = (*self.key, matrix.shape, form)
        if key not in self.results:
            self.results[key] = self.rounding.in_blocks(matrix, form)
        return self.results[key]  # type: ignore[return-value]

    def scaled(self, factors: NDArray[np.float32]) -> _CachedRounding:
        return replace(self, rounding=self.rounding.scaled(factors), key=(*self.key, "scaled", factors.tobytes()))

    def shifted(self, shifts: NDArray[np.float32]) -> _CachedRounding:
        return replace(self, rounding=self.rounding.shifted(shifts), key=(*self.key, "shifted", shifts.tobytes()))
