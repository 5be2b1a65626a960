"""What quantizing a checkpoint once found out, for quantizing it again by another recipe.

Calibration runs the float model, and compensated rounding solves a system for every layer: both are worth keeping while
many recipes for one checkpoint and one text are tried.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """What calibration saw: value name -> its channels, and the products of its inputs if they were asked for."""

    channels: dict[str, Channels]
    products: dict[str, Products]


@dataclass(kw_only=True, eq=False)
class Memory:
    """Of one checkpoint and one text.

    Attributes:
        observed: how calibration was run -> what it saw.
    """

    observed: dict[Hashable, Observed] = field(default_factory=dict)
    _rounded: dict[Hashable, QuantizedRows] = field(default_factory=dict)
    _blocks: dict[Hashable, QuantizedBlocks] = field(default_factory=dict)
    _rounded_by: Hashable = None

    def remembering(self, roundings: Roundings, key: Hashable) -> Roundings:
        """Roundings that solve each matrix once, as long as the key stays the same.

        Args:
            key: everything that the roundings depend on beside the layer.
        """
        if key != self._rounded_by:  # the weights of one way of rounding are as large as the model: keep one way
            self._rounded, self._blocks, self._rounded_by = {}, {}, key

        def remembered(layer: str) -> Rounding:
            return _Remembered(roundings(layer), (layer,), self._rounded, self._blocks)

        return remembered


@dataclass(frozen=True, eq=False)
class _Remembered:
    """A rounding that looks its result up; what was done to the matrix before is part of the place."""

    rounding: Rounding
    place: tuple[Hashable, ...]
    rounded: dict[Hashable, QuantizedRows]
    blocks: dict[Hashable, QuantizedBlocks]

    def __call__(self, matrix: NDArray[np.float32], weight_range: WeightRange) -> QuantizedRows:
        place = (*self.place, matrix.shape, weight_range)
        if place not in self.rounded:
            self.rounded[place] = self.rounding(matrix, weight_range)
        return self.rounded[place]

    def in_blocks(self, matrix: NDArray[np.float32], form: BlockWeights) -> QuantizedBlocks:
        place = (*self.place, matrix.shape, form)
        if place not in self.blocks:
            self.blocks[place] = self.rounding.in_blocks(matrix, form)
        return self.blocks[place]

    def scaled(self, factors: NDArray[np.float32]) -> _Remembered:
        place = (*self.place, "scaled", factors.tobytes())
        return replace(self, rounding=self.rounding.scaled(factors), place=place)

    def shifted(self, shifts: NDArray[np.float32]) -> _Remembered:
        place = (*self.place, "shifted", shifts.tobytes())
        return replace(self, rounding=self.rounding.shifted(shifts), place=place)
