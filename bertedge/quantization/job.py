"""What a quantization method is given, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bertedge.checkpoint import Checkpoint
from bertedge.data.corpus import TokenizedCorpus
from bertedge.errors import UsageError
from bertedge.graph import plan as layers
from bertedge.graph.layers import Positions, nearest
from bertedge.graph.plan import Float16Weights, Plan, layer_names
from bertedge.graph.rounding import Roundings
from bertedge.progress import Listener
from bertedge.quantization.float_model import FloatModel
from bertedge.quantization.memory import Memory
from bertedge.quantization.ranges import Ranges
from bertedge.recipe import QuantizationRecipe
from bertedge.target import MIN_ONNXRUNTIME, TargetProfile


@dataclass(frozen=True, kw_only=True)
class Job:
    """One checkpoint to quantize.

    Attributes:
        corpus, corpus_name: calibration text, and what to call it.
        positions: where the MLM head will be computed; see :func:`bertedge.graph.bert.build_graph`.
        ranges: those of an earlier calibration; None to calibrate.
        model_sha256: hash of the checkpoint: weights, sizes, tokenizer.
        calibration_sha256: hash of the calibration text.
        memory: what earlier jobs with this checkpoint and this text found out.
    """

    checkpoint: Checkpoint
    float_model: FloatModel
    recipe: QuantizationRecipe
    target: TargetProfile
    corpus: TokenizedCorpus
    corpus_name: str
    positions: Positions
    ranges: Ranges | None
    model_sha256: str
    calibration_sha256: str
    listen: Listener
    memory: Memory = field(default_factory=Memory)

    @property
    def layers(self) -> list[str]:
        """Every linear layer and table that can be given a format."""
        names = layer_names(self.checkpoint.config, self.checkpoint.heads)
        return [*names, layers.WORD_TABLE, layers.POSITION_TABLE]

    def kept_float(self) -> set[str]:
        """The layers that the recipe leaves in float32.

        Raises:
            UsageError: a pattern names none, or only one side of a table that two layers share.
        """
        kept = set(self.recipe.excluded(self.layers))
        self._require_whole_table("--exclude", kept)
        return kept

    def widened(self) -> set[str]:
        """The layers that the recipe stores in float16.

        Raises:
            UsageError: as for :meth:`kept_float`.
        """
        chosen = set(self.recipe.widened(self.layers))
        self._require_whole_table("--float16", chosen | self.kept_float())
        return chosen - self.kept_float()

    @property
    def shares_table(self) -> bool:
        """Whether the decoder's matrix is the words' table."""
        return "mlm" in self.checkpoint.heads and "decoder" not in self.checkpoint.heads

    def _require_whole_table(self, option: str, chosen: set[str]) -> None:
        if self.shares_table and layers.WORD_TABLE in chosen and layers.MLM_DECODER not in chosen:
            raise UsageError(
                f"{option} names {layers.WORD_TABLE}, but {layers.MLM_DECODER} shares its table in this model",
                f"name {layers.MLM_DECODER} as well, or neither of the two",
            )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a method decided.

    Attributes:
        ranges: what it calibrated, if it did.
        roundings: how the weights of each layer are rounded.
        warnings: what the user should know of, a sentence each.
        finer: a field of the method that holds patterns of layer names -> the layers that can be named there, each with
            the format that it would get.
        min_onnxruntime: the oldest version that has the operators of the plan, if that is newer than the target's.
    """

    plan: Plan
    ranges: Ranges | None = None
    roundings: Roundings = nearest
    warnings: tuple[str, ...] = ()
    finer: Mapping[str, Plan] = field(default_factory=dict)
    min_onnxruntime: str = MIN_ONNXRUNTIME

    def widened(self, layers: set[str]) -> Decision:
        """The same with the weights of some layers in float16, whatever the method."""
        return replace(self, plan={**self.plan, **dict.fromkeys(sorted(layers), Float16Weights())})
