"""The loss that each layer's number format causes: one layer at a time gets a finer format.

Each time the loss of the whole graph is measured on real text, so the effect of layers on each other is included.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertedge.data.text_source import TextSource
from bertedge.engines.onnxruntime.executor import open_file
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.bootstrap import Observations, estimate
from bertedge.evaluate.recorded import Recorded
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.formats import Float16Weights, Float32, NumberFormat, Plan
from bertedge.graph.inspect import work
from bertedge.heads import HEADS
from bertedge.layers import Layer
from bertedge.quantization.job import Decision, Job
from bertedge.quantization.methods import decider_of
from bertedge.recipe import QuantizationRecipe
from bertedge.runtime.row_runner import RowRunner

#: Number of texts in a measurement, and largest number of tokens in a text.
EXAMPLES, MAX_LENGTH = 48, 128
SEED = 5
#: The largest number of groups of encoder layers; in deeper models, neighbouring blocks share a group.
MAX_GROUPS = 28
#: The recipe's field for weights in float16, which every method has.
FLOAT16 = "float16"
#: For each head, a loss that changes smoothly; shares of right answers change in jumps.
SMOOTH_LOSS = {name: head.smooth_loss for name, head in HEADS.items()}
KEPT_METRICS = tuple(metric for head in HEADS.values() for metric in (head.smooth_loss, head.main_metric))
#: The smallest cost of a remedy: the gain is divided by the cost, which may be zero.
LEAST_COST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """Some layers in a finer format.

    Attributes:
        group: the name of the layers that get the finer format together.
        field: the field of the recipe or of its method that names such layers.
        layers: the layers to name there.
        losses: metric -> value of the whole graph with this remedy alone.
        work: additional multiply-accumulates, as a share of the graph's.
        bytes: additional bytes, as a share of the graph's.
    """

    group: str
    field: str
    layers: tuple[str, ...]
    losses: dict[str, float]
    work: float
    bytes: float

    @property
    def cost(self) -> float:
        """Additional work and bytes, as one share."""
        return max(self.work + self.bytes, LEAST_COST)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Losses of a recipe on a sample: without remedies, and with each remedy alone.

    Attributes:
        positions: masked positions of the sample.
        losses: metric -> value without any remedy.
    """

    examples: int
    positions: int
    losses: dict[str, float]
    remedies: tuple[Remedy, ...]

    def gain(self, remedy: Remedy, heads: Collection[str]) -> float:
        """Share of the heads' losses that a remedy removes; negative if it increases them."""
        gain = 0.0
        for metric in (SMOOTH_LOSS[head] for head in heads):
            before, after = self.losses.get(metric, 0.0), remedy.losses.get(metric, math.inf)
            if before > 0:
                gain += (before - after) / before
        return gain if math.isfinite(gain) else -math.inf

    def path(self, heads: Collection[str]) -> list[Remedy]:
        """All useful remedies in the order to take them: the largest gain for its additional cost first.

        A group may occur twice, with a finer format the second time. At the end of the path every group is in float16,
        so the path reaches the smallest possible loss.

        Args:
            heads: names in :data:`SMOOTH_LOSS`: the heads whose losses count.
        """
        taken: dict[str, Remedy] = {}
        steps: list[Remedy] = []

        def gain_per_cost(remedy: Remedy) -> float:
            now = taken.get(remedy.group)
            gain = self.gain(remedy, heads) - (self.gain(now, heads) if now else 0.0)
            cost = remedy.cost - (now.cost if now else 0.0)
            return gain / cost if cost > 0 else -math.inf

        while True:
            best = max(self.remedies, key=gain_per_cost, default=None)
            if best is None or not gain_per_cost(best) > 0:
                break
            taken[best.group] = best
            steps.append(best)
        last = [remedy for remedy in self.remedies if remedy.field == FLOAT16 and remedy not in steps]
        return steps + sorted(last, key=gain_per_cost, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Graphs of one decision with other formats for some layers, compared with float.

    Attributes:
        scratch: a folder for one graph at a time.
    """

    job: Job
    decision: Decision
    scratch: Path

    def record(self, text: TextSource, *, examples: int, seed: int) -> Recorded:
        """Float's outputs for a sample of a text."""
        checkpoint = self.job.checkpoint
        batches = text.sample(examples, max_length=min(MAX_LENGTH, checkpoint.config.max_length), seed=seed)
        folder = self.scratch / f"sample-{seed}"
        folder.mkdir()
        in_float = self._graph(self.job.float_model.plain, all_positions=False, row_independent=True)
        return Recorded(in_float, batches, folder, self.job.listen, settings=checkpoint.parts.settings)

    def measure(self, taken: Mapping[str, Remedy], sample: Recorded) -> Observations:
        """Build the graph with some remedies, and compare it with float."""
        path = self.scratch / "trial.onnx"
        job, decision = self.job, with_remedies(self.decision, taken)
        graph = build_graph(job.checkpoint, decision.plan, positions=job.positions, roundings=decision.roundings)
        graph.builder.write(path)
        everywhere = job.positions == "all"
        row_independent = decider_of(job.recipe.method).row_independent
        return sample.observe(self._graph(path, all_positions=everywhere, row_independent=row_independent))

    def cost(self, taken: Mapping[str, Remedy]) -> tuple[float, float]:
        """Work and bytes of the graph with some remedies; no weights are loaded."""
        plan = with_remedies(self.decision, taken).plan
        graph = build_graph(self.job.checkpoint, plan, positions=self.job.positions)
        return work(graph, plan), float(graph.builder.size_bytes)

    def _graph(self, path: Path, *, all_positions: bool, row_independent: bool) -> RowRunner:
        checkpoint, config = self.job.checkpoint, self.job.checkpoint.config
        executor = open_file(
            path,
            config,
            parts=checkpoint.parts,
            threads=usable_cpus(),
            all_positions=all_positions,
            row_independent=row_independent,
        )
        return RowRunner(name=path.stem, executor=executor, config=config, row_independent=row_independent)


def measure_layers(trials: Trials) -> Sensitivity:
    """Measure every remedy on a sample of the calibration text."""
    job = trials.job
    sample = trials.record(job.text, examples=EXAMPLES, seed=SEED)
    losses = _losses(trials.measure({}, sample))
    work_before, bytes_before = trials.cost({})
    remedies = []
    untried = _untried(job, trials.decision)
    for index, remedy in enumerate(untried):
        job.listen(index / len(untried), f"sensitivity of {remedy.group} ({index + 1}/{len(untried)})")
        taken = {remedy.group: remedy}
        work_after, bytes_after = trials.cost(taken)
        remedies.append(
            replace(
                remedy,
                losses=_losses(trials.measure(taken, sample)),
                work=work_after / work_before - 1,
                bytes=bytes_after / bytes_before - 1,
            )
        )
    return Sensitivity(examples=sample.texts, positions=sample.positions, losses=losses, remedies=tuple(remedies))


def with_remedies(decision: Decision, taken: Mapping[str, Remedy]) -> Decision:
    """A decision with some layers in finer formats."""
    plan: dict[str, NumberFormat] = dict(decision.plan)
    for remedy in taken.values():
        plan |= {layer: _format(decision, remedy.field, layer) for layer in remedy.layers}
    return replace(decision, plan=plan)


def recipe_with(recipe: QuantizationRecipe, taken: Mapping[str, Remedy]) -> QuantizationRecipe:
    """The recipe with some remedies."""
    for remedy in taken.values():
        if remedy.field == FLOAT16:
            recipe = replace(recipe, float16=(*recipe.float16, *remedy.layers))
        else:
            named: Any = (*getattr(recipe.method, remedy.field), *remedy.layers)
            recipe = recipe.changed(**{remedy.field: named})
    return recipe


def _format(decision: Decision, field: str, layer: str) -> NumberFormat:
    return Float16Weights() if field == FLOAT16 else decision.finer[field][layer]


def _untried(job: Job, decision: Decision) -> list[Remedy]:
    """Every remedy that changes the format of a layer."""
    found = []
    for group, members in _groups(job, decision.plan).items():
        tried: list[Plan] = []
        for field in (FLOAT16, *decision.finer):
            able = [layer for layer in members if field == FLOAT16 or layer in decision.finer[field]]
            change = {layer: _format(decision, field, layer) for layer in able}
            if all(decision.plan[layer] == form for layer, form in change.items()) or change in tried:
                continue
            tried.append(change)
            found.append(Remedy(group=group, field=field, layers=tuple(able), losses={}, work=0.0, bytes=0.0))
    return found


def _groups(job: Job, plan: Plan) -> dict[str, tuple[str, ...]]:
    """The quantized layers in groups: each alone, or those of one role in neighbouring blocks of a deep model."""
    blocks_each = math.ceil(4 * job.checkpoint.config.num_hidden_layers / MAX_GROUPS)
    groups: dict[str, list[str]] = {}
    for layer in job.layers:
        if isinstance(plan.get(layer.name, Float32()), Float32 | Float16Weights):
            continue
        shared = layer.stored if len(job.users[layer.name]) > 1 else None
        group = job.sharing.get(layer.name) or shared or group_of(layer, blocks_each)
        groups.setdefault(group, []).append(layer.name)
    return {name: tuple(members) for name, members in groups.items()}


def group_of(layer: Layer, blocks_each: int) -> str:
    """The name of a layer's group.

    Args:
        blocks_each: neighbouring blocks whose layers of one role are a group.
    """
    if layer.block is None or blocks_each == 1:
        return layer.name
    first = layer.block // blocks_each * blocks_each
    rest = layer.name.removeprefix(f"encoder.layer.{layer.block}.")
    return f"encoder.layer.{first}-{first + blocks_each - 1}.{rest}"


def _losses(seen: Observations) -> dict[str, float]:
    values = {metric: estimate(metric, seen) for metric in KEPT_METRICS}
    return {metric: value for metric, value in values.items() if value is not None}
