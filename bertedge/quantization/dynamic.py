"""Dynamic int8: the range of the activations is taken from each input at run time; nothing to calibrate."""

from __future__ import annotations

from collections.abc import Callable

from bertedge.checkpoint import Checkpoint
from bertedge.data.corpus import TokenizedCorpus
from bertedge.graph.plan import (
    MLM_TRANSFORM,
    POSITION_TABLE,
    WORD_TABLE,
    DynamicInt8,
    Float16Weights,
    NumberFormat,
    Plan,
    layer_names,
)
from bertedge.recipe import QuantizationRecipe
from bertedge.target import TargetProfile


def plan(
    checkpoint: Checkpoint,
    recipe: QuantizationRecipe,
    target: TargetProfile,
    corpus: TokenizedCorpus,
    listen: Callable[[float, str], None],
) -> Plan:
    """int8 for every linear layer and table that is not excluded."""
    del corpus, listen
    layers = [*layer_names(checkpoint.config, checkpoint.heads), WORD_TABLE, POSITION_TABLE]
    kept_float = recipe.excluded(layers)
    forms: dict[str, NumberFormat] = {name: DynamicInt8(weight_range=target.weight_range) for name in layers}
    if MLM_TRANSFORM in forms:
        forms[MLM_TRANSFORM] = Float16Weights()
    return {name: form for name, form in forms.items() if name not in kept_float}
