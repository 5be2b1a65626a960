"""The input of a quantization method, and its output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from bertedge.checkpoint import Checkpoint
from bertedge.data.text_source import TextSource
from bertedge.errors import UsageError
from bertedge.graph.formats import Float16Weights, NumberFormat, Plan
from bertedge.graph.rounding import Roundings
from bertedge.graph.writer import Positions, nearest
from bertedge.layers import KEPT, Layer, planned_layers, sharing, users
from bertedge.progress import Listener
from bertedge.quantization.float_model import FloatModel
from bertedge.quantization.ranges import Ranges
from bertedge.quantization.result_cache import Cache
from bertedge.recipe import QuantizationRecipe, matching
from bertedge.target import MIN_ONNXRUNTIME, TargetProfile


@dataclass(frozen=True, kw_only=True)
class Job:
    """One checkpoint to quantize.

    Attributes:
        text: calibration text.
        positions: where the MLM head will be computed; see :func:`bertedge.graph.encoder_graph.build_graph`.
        ranges: those of an earlier calibration; None to calibrate.
        model_sha256: hash of the checkpoint: weights, sizes, tokenizer.
        calibration_sha256: hash of the calibration text.
        cache: results of earlier jobs with the same checkpoint and text.
    """

    checkpoint: Checkpoint
    float_model: FloatModel
    recipe: QuantizationRecipe
    target: TargetProfile
    text: TextSource
    positions: Positions
    ranges: Ranges | None
    model_sha256: str
    calibration_sha256: str
    listen: Listener
    cache: Cache = field(default_factory=Cache)

    @cached_property
    def all_layers(self) -> tuple[Layer, ...]:
        """Every layer of the model."""
        return self.checkpoint.parts.layers(self.checkpoint.config)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every linear layer and table that a recipe can give a format to."""
        return tuple(planned_layers(self.all_layers))

    @cached_property
    def names(self) -> list[str]:
        """The names of these layers."""
        return [layer.name for layer in self.layers]

    @cached_property
    def sharing(self) -> dict[str, str]:
        """See :func:`bertedge.layers.sharing`."""
        return sharing(self.layers)

    @cached_property
    def users(self) -> dict[str, tuple[str, ...]]:
        """See :func:`bertedge.layers.users`."""
        return users(self.all_layers)

    def kept_float(self) -> set[str]:
        """The layers that the recipe leaves in float32.

        Raises:
            UsageError: a pattern names no layer, or a table without the layer that shares it.
        """
        kept = set(matching("exclude", self.recipe.exclude, self.names))
        self._require_whole_table("exclude", kept)
        self.require_all_users("exclude", kept)
        return kept

    def in_float16(self) -> set[str]:
        """The layers that the recipe stores in float16.

        Raises:
            UsageError: as for :meth:`kept_float`.
        """
        chosen = set(matching("float16", self.recipe.float16, self.names))
        self._require_whole_table("float16", chosen | self.kept_float())
        self.require_all_users("float16", chosen)
        return chosen - self.kept_float()

    def require_all_users(self, option: str, chosen: set[str]) -> None:
        """Refuse a choice of some of the layers that share their weights.

        Raises:
            UsageError: names two of them.
        """
        for layer in sorted(chosen):
            others = [other for other in self.users[layer] if other not in chosen]
            if others:
                raise UsageError(
                    f"{option} names {layer}, but {others[0]} has the same weights in this model",
                    "name all layers with these weights, or none",
                )

    def _require_whole_table(self, option: str, chosen: set[str]) -> None:
        for table, layer in self.sharing.items():
            if table in chosen and layer not in chosen:
                raise UsageError(
                    f"{option} names {table}, but {layer} shares its table in this model",
                    f"name both {table} and {layer}, or neither",
                )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The output of a method: the number format of every layer, and how weights are rounded.

    Attributes:
        ranges: the ranges that calibration observed; None without calibration.
        roundings: how the weights of each layer are rounded.
        warnings: for the user, a sentence each.
        finer: field of the method that names layers for a finer format -> the layers that it can name, each with
            the format that it would get.
        min_onnxruntime: the oldest version that has the operators of the plan.
    """

    plan: Plan
    ranges: Ranges | None = None
    roundings: Roundings = nearest
    warnings: tuple[str, ...] = ()
    finer: Mapping[str, Plan] = field(default_factory=dict)
    min_onnxruntime: str = MIN_ONNXRUNTIME

    def with_float16(self, layers: set[str]) -> Decision:
        """A copy with the weights of some layers in float16."""
        return replace(self, plan={**self.plan, **dict.fromkeys(sorted(layers), Float16Weights())})


def plan_of(layers: Iterable[Layer], format_of: Callable[[Layer], NumberFormat]) -> dict[str, NumberFormat]:
    """The format of each layer: the method's, or float16 where every method keeps it."""
    return {layer.name: Float16Weights() if layer.role in KEPT else format_of(layer) for layer in layers}
