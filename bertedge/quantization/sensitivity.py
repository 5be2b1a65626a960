"""What each layer's number format costs: every layer in turn made finer, all others as they were decided.

The loss of the whole graph is measured each time, on real text, so that what layers do to each other is in it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.held_out import drawn_sample
from bertedge.engines.onnxruntime.executor import open_file
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.bootstrap import Observations, estimate
from bertedge.evaluate.recorded import Recorded
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.formats import Float16Weights, Float32, NumberFormat, Plan
from bertedge.graph.inspect import work
from bertedge.heads import HEADS
from bertedge.layers import Layer
from bertedge.pooling import pooling_of
from bertedge.quantization.job import Decision, Job
from bertedge.recipe import QuantizationRecipe
from bertedge.runtime.row_runner import RowRunner

#: Texts that every layer is tried on, and tokens of one at most.
EXAMPLES, MAX_LENGTH = 48, 128
SEED = 5
#: So many groups of encoder layers are tried at most; in a deeper model neighbouring blocks share one.
MAX_GROUPS = 28
#: The recipe's field for weights in float16, which every method has.
FLOAT16 = "float16"
#: For each head, the loss that moves with every bit: shares of right answers jump.
SMOOTH_LOSS = {name: head.smooth_loss for name, head in HEADS.items()}
KEPT_METRICS = tuple(metric for head in HEADS.values() for metric in (head.smooth_loss, head.main_metric))
#: Of the work and the bytes; what costs nothing is not infinitely good.
LEAST_COST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """Some layers in a finer format.

    Attributes:
        group: the layers that are treated alike, in a word.
        field: the field of the recipe or of its method that names such layers.
        layers: those to name there.
        losses: metric -> value of the whole graph with this remedy alone.
        work: what is added to the graph's multiply-accumulates, as a share of them.
        bytes: what is added to its bytes, as a share of them.
    """

    group: str
    field: str
    layers: tuple[str, ...]
    losses: dict[str, float]
    work: float
    bytes: float

    @property
    def cost(self) -> float:
        """Work and bytes that it adds, as one share."""
        return max(self.work + self.bytes, LEAST_COST)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Losses of a recipe on a sample, and what every remedy would make of them.

    Attributes:
        positions: masked positions of the sample.
        losses: metric -> value without any remedy.
    """

    examples: int
    positions: int
    losses: dict[str, float]
    remedies: tuple[Remedy, ...]

    def gain(self, remedy: Remedy, heads: Collection[str]) -> float:
        """Share of the heads' losses that a remedy takes away; below zero where it adds to them."""
        gain = 0.0
        for metric in (SMOOTH_LOSS[head] for head in heads):
            before, after = self.losses.get(metric, 0.0), remedy.losses.get(metric, math.inf)
            if before > 0:
                gain += (before - after) / before
        return gain if math.isfinite(gain) else -math.inf

    def path(self, heads: Collection[str]) -> list[Remedy]:
        """All remedies worth taking, one more at a time: that with the most gain for its added cost first.

        A group may be treated twice, the second time better. At the end every group is in float16, so that there is
        no loss that the path does not reach.

        Args:
            heads: names in :data:`SMOOTH_LOSS`: where loss matters.
        """
        taken: dict[str, Remedy] = {}
        steps: list[Remedy] = []

        def worth(remedy: Remedy) -> float:
            now = taken.get(remedy.group)
            gain = self.gain(remedy, heads) - (self.gain(now, heads) if now else 0.0)
            cost = remedy.cost - (now.cost if now else 0.0)
            return gain / cost if cost > 0 else -math.inf

        while True:
            best = max(self.remedies, key=worth, default=None)
            if best is None or not worth(best) > 0:
                break
            taken[best.group] = best
            steps.append(best)
        last = [remedy for remedy in self.remedies if remedy.field == FLOAT16 and remedy not in steps]
        return steps + sorted(last, key=worth, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Graphs of one decision with some layers otherwise, measured beside float.

    Attributes:
        scratch: a folder for one graph at a time.
    """

    job: Job
    decision: Decision
    row_independent: bool
    scratch: Path

    def record(self, corpus: TokenizedCorpus, *, examples: int, seed: int) -> Recorded:
        """What float says to a sample of a text."""
        checkpoint = self.job.checkpoint
        layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
        length = min(MAX_LENGTH, checkpoint.config.max_length)
        batches = drawn_sample(
            corpus, layout, examples=examples, max_length=length, seed=seed, pairs=checkpoint.reads_pairs
        )
        folder = self.scratch / f"sample-{seed}"
        folder.mkdir()
        in_float = self._graph(self.job.float_model.plain, all_positions=False, row_independent=True)
        return Recorded(in_float, batches, folder, self.job.listen, pooling=pooling_of(checkpoint.embedding))

    def measure(self, taken: Mapping[str, Remedy], sample: Recorded) -> Observations:
        """Build the graph with some remedies, and compare it with float."""
        path = self.scratch / "trial.onnx"
        job, decision = self.job, with_remedies(self.decision, taken)
        graph = build_graph(job.checkpoint, decision.plan, positions=job.positions, roundings=decision.roundings)
        graph.builder.write(path)
        everywhere = job.positions == "all"
        return sample.observe(self._graph(path, all_positions=everywhere, row_independent=self.row_independent))

    def cost(self, taken: Mapping[str, Remedy]) -> tuple[float, float]:
        """Work and bytes of the graph with some remedies; nothing is loaded for it."""
        plan = with_remedies(self.decision, taken).plan
        graph = build_graph(self.job.checkpoint, plan, positions=self.job.positions)
        return work(graph, plan), float(sum(tensor.size_bytes for tensor in graph.builder.tensors.values()))

    def _graph(self, path: Path, *, all_positions: bool, row_independent: bool) -> RowRunner:
        config = self.job.checkpoint.config
        executor = open_file(
            path, config, threads=usable_cpus(), all_positions=all_positions, row_independent=row_independent
        )
        return RowRunner(name=path.stem, executor=executor, config=config, row_independent=row_independent)


def measure_layers(trials: Trials) -> Sensitivity:
    """Try every remedy that the method and the formats have, on a sample of the text that calibration used."""
    job = trials.job
    sample = trials.record(job.corpus, examples=EXAMPLES, seed=SEED)
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
    """The recipe that decides so."""
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
    """Every remedy that changes something."""
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
    """The layers that are not float yet: each by itself, or alike ones of neighbouring blocks in a deep model."""
    blocks_each = math.ceil(4 * job.checkpoint.config.num_hidden_layers / MAX_GROUPS)
    groups: dict[str, list[str]] = {}
    for layer in job.layers:
        if isinstance(plan.get(layer.name, Float32()), Float32 | Float16Weights):
            continue
        group = job.sharing.get(layer.name) or group_of(layer, blocks_each)
        groups.setdefault(group, []).append(layer.name)
    return {name: tuple(members) for name, members in groups.items()}


def group_of(layer: Layer, blocks_each: int) -> str:
    """The name of the layers that are treated as one: those of one role in so many neighbouring blocks."""
    if layer.block is None or blocks_each == 1:
        return layer.name
    first = layer.block // blocks_each * blocks_each
    rest = layer.name.removeprefix(f"encoder.layer.{layer.block}.")
    return f"encoder.layer.{first}-{first + blocks_each - 1}.{rest}"


def _losses(seen: Observations) -> dict[str, float]:
    values = {metric: estimate(metric, seen) for metric in KEPT_METRICS}
    return {metric: value for metric, value in values.items() if value is not None}
