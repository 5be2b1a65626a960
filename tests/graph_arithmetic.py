"""A bundle's model computed in numpy from ``plan.json``, with the activations rounded as the bundle's graph does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertedge.engines.plan_layers import Floats, Term
from bertedge.engines.plan_model import PlanModel
from bertedge.plan import QuantizedInput, StoredLayer
from bertedge.predictor import Row, RowOutputs


class GraphModel(PlanModel):
    """One text at a time, since the range of dynamic activations is that of all tokens."""

    def outputs(self, ids: Sequence[int], types: Sequence[int], masked: Sequence[int]) -> RowOutputs:
        """Of one text, every position read."""
        values = (np.array(given, dtype=np.int64) for given in (ids, types, masked))
        row = Row(**dict(zip(("input_ids", "token_type_ids", "masked_positions"), values, strict=True)), hidden=True)
        return self.run([row], lambda outputs: outputs)[0]

    def terms(self, layer: StoredLayer, x: Floats) -> list[Term]:
        """With the range that ``plan.json`` gives, or that of the whole tensor."""
        given = layer.input or range_of(x)
        terms = [quantized(x, given.scale, given.zero_point)]
        if given.residual_scale is not None:
            terms.append(quantized(x - terms[0].levels * np.float32(given.scale), given.residual_scale, 128))
        return terms


def quantized(x: Floats, scale: float, zero_point: int) -> Term:
    levels = np.clip(np.rint(x / np.float32(scale)) + zero_point, 0, 255) - zero_point
    return Term(levels.astype(np.float32), np.float32(scale), np.float32(0))


def range_of(x: Floats) -> QuantizedInput:
    """The scale and the zero point of a whole tensor, as ``DynamicQuantizeLinear`` takes them."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = np.float32(high - low) / np.float32(255)
    return QuantizedInput(scale=float(scale), zero_point=int(np.clip(np.rint(-low / scale), 0, 255)))
