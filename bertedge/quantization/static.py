"""Static int8: ranges from calibration. A row's result depends on nothing but the row."""

from __future__ import annotations

from collections.abc import Callable

from bertedge.checkpoint import Checkpoint
from bertedge.data.corpus import TokenizedCorpus
from bertedge.graph.plan import POSITION_TABLE, WORD_TABLE, DynamicInt8, NumberFormat, Plan, StaticInt8, layer_names
from bertedge.quantization.calibrate import calibrate
from bertedge.recipe import QuantizationRecipe
from bertedge.target import TargetProfile


def plan(
    checkpoint: Checkpoint,
    recipe: QuantizationRecipe,
    target: TargetProfile,
    corpus: TokenizedCorpus,
    listen: Callable[[float, str], None],
) -> Plan:
    """int8 with calibrated ranges for every linear layer that is not excluded."""
    layers = layer_names(checkpoint.config, checkpoint.heads)
    kept_float = recipe.excluded([*layers, WORD_TABLE, POSITION_TABLE])
    ranges = calibrate(checkpoint, recipe, corpus, listen)
    formats: dict[str, NumberFormat] = {
        name: DynamicInt8(weight_range=target.weight_range)
        for name in (WORD_TABLE, POSITION_TABLE)
        if name not in kept_float
    }
    for name in layers:
        if name not in kept_float:
            scale, zero_point = ranges[name].scale_and_zero_point()
            formats[name] = StaticInt8(scale=scale, zero_point=zero_point, weight_range=target.weight_range)
    return formats
