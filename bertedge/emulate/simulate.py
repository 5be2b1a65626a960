"""A bundle as a CPU without VNNI computes it: int8 matmuls in numpy, with 16-bit sums that saturate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.emulate.cpus import SIMULATED
from bertedge.emulate.saturate import PairwiseMatrix, Saturation
from bertedge.engines.numpy import NUMPY
from bertedge.engines.numpy.numpy_model import NumpyModel
from bertedge.engines.onnxruntime.executor import executor_of
from bertedge.errors import UsageError, nearest
from bertedge.runtime import BertRuntime, load


def simulate(bundle: str | Path, target: str) -> tuple[BertRuntime, SimulatedModel]:
    """Load a bundle so that it computes as on a CPU of the target.

    Returns:
        The runtime, and its model, which counts the sums that saturate.

    Raises:
        UsageError: no CPU of that target adds in 16 bits, or the model is not in ONNX format.
        BertEdgeError: the bundle cannot be opened.
    """
    if target not in SIMULATED:
        raise UsageError(f"target {target!r} cannot be simulated", nearest(target, SIMULATED))
    opened = load(bundle, threads=1, allow_any_cpu=True).bundle
    if opened.manifest.format != "onnx":
        raise UsageError(
            f"{bundle}: a model in {opened.manifest.format} format cannot be split into operators",
            "simulate a bundle made without --format; its results are the same",
        )
    model = SimulatedModel(opened.model_path)
    engine = replace(NUMPY, name=f"{target}, simulated", open=lambda bundle, **how: executor_of(bundle, model))
    return BertRuntime(opened, engine=engine, threads=1), model


class SimulatedModel(NumpyModel):
    """A model file whose sums of two products have 16 bits.

    Attributes:
        saturation: layer -> the sums that saturated in all calls up to now.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._pairwise: dict[str, PairwiseMatrix] = {}
        self.saturation: dict[str, Saturation] = {}

    def _sums(self, layer: str, weight: NDArray[np.int8], x: NDArray[np.uint8], zero_point: int) -> NDArray[np.int32]:
        if layer not in self._pairwise:
            self._pairwise[layer] = PairwiseMatrix(weight)
        sums, seen = self._pairwise[layer].multiply(x, zero_point)
        self.saturation[layer] = self.saturation.get(layer, Saturation()) + seen
        return sums
