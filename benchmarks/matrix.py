"""Measure every target with every recipe: fidelity, size of the file, and time of a text.

    python benchmarks/matrix.py MODEL CORPUS [--examples 1250] [--rounds 15]

MODEL is a checkpoint folder or a built-in name. A graph depends only on the target's range of weights, so one file is
made for each range, and targets with the same file share a row. Fidelity is against float, on this machine; a file that
is not correct on this CPU is not run. The latency of one text is measured on this machine, interleaved. The last table
holds estimates for one chip of each target (roofline.py), not measurements. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from measuring import METRICS, Sample, Timed, arguments, show
from roofline import CHIPS, least_ms

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.cpu import this_cpu
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.evaluate.latency import Workload
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.inspect import MASKED, TOKENS, macs
from bertedge.metric import MetricValue
from bertedge.quantization import export, quantize
from bertedge.recipe import RECIPES, QuantizationRecipe, WeightOnly
from bertedge.runtime import load
from bertedge.target import TARGETS, Fit, fit, this_target

ROWS: dict[str, QuantizationRecipe] = {
    **RECIPES,
    "dynamic": QuantizationRecipe().changed(method="dynamic"),
    "weight-only, 8 bits": QuantizationRecipe(method=WeightOnly(bits=8)),
    "weight-only, 4 bits": QuantizationRecipe(method=WeightOnly(bits=4)),
}
FLOAT, NOT_RUN = "float32", "not correct here"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A bundle of one recipe, its targets, and what was measured."""

    recipe: str
    targets: tuple[str, ...]
    bundle: Bundle
    values: dict[str, MetricValue] | None = None
    timed: Timed | None = None

    @property
    def runs_here(self) -> bool:
        manifest = self.bundle.manifest
        return not manifest.may_overflow or fit(TARGETS[manifest.target], this_target()) is not Fit.wrong


def main() -> None:
    """Print the tables of one model."""
    options = arguments(__doc__, examples=1250, rounds=15).parse_args()
    checkpoint = open_checkpoint(options.model)
    sample = Sample.of(checkpoint, options.corpus, options.examples)
    with tempfile.TemporaryDirectory() as scratch:
        reference = Cell(recipe=FLOAT, targets=tuple(TARGETS), bundle=export(checkpoint, Path(scratch) / FLOAT))
        made = [reference, *(cell for name in ROWS for cell in _cells(checkpoint, name, Path(scratch)))]
        cells = _measure(made, sample, options.rounds)
        here, rows = this_cpu(), sum(len(batch.input_ids) for batch in sample.batches)
        print(f"### {checkpoint.name}\n\n{rows} pairs; this CPU: {here}, {this_target().name}.\n")
        _print_measured(cells)
        _print_estimated(cells, sum(macs(build_graph(checkpoint, {})).values()))


def _cells(checkpoint: Checkpoint, recipe: str, scratch: Path) -> list[Cell]:
    """One for each file that differs."""
    targets: dict[str, list[str]] = {}
    bundles: dict[str, Bundle] = {}
    for weight_range in dict.fromkeys(row.weight_range for row in TARGETS.values()):
        own = [row.name for row in TARGETS.values() if row.weight_range == weight_range]
        bundle = quantize(checkpoint, scratch / f"{recipe}.{own[-1]}", target=own[-1], recipe=ROWS[recipe])
        digest = bundle.model_sha256
        targets.setdefault(digest, []).extend(own)
        bundles.setdefault(digest, bundle)
    return [Cell(recipe=recipe, targets=tuple(own), bundle=bundles[digest]) for digest, own in targets.items()]


def _measure(cells: list[Cell], sample: Sample, rounds: int) -> list[Cell]:
    run = [index for index, cell in enumerate(cells) if cell.runs_here]
    models = [load(cells[index].bundle.folder) for index in run]
    fidelity = [None, *measure_fidelity(models[0], models[1:], sample.batches)]
    times = sample.times(models, Workload(batch_size=1, seq_len=TOKENS), rounds=rounds)
    measured = list(cells)
    for index, values, timed in zip(run, fidelity, times, strict=True):
        measured[index] = replace(cells[index], values=values, timed=timed)
    return measured


def _print_measured(cells: list[Cell]) -> None:
    columns = ("recipe", "file for", "size", *METRICS, f"{TOKENS} tokens here: ms", "ratio to float32")
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for cell in cells:
        values = [show(cell.values[metric]) for metric in METRICS] if cell.values else [""] * len(METRICS)
        times = [f"{cell.timed.ms:.2f}", show(cell.timed.ratio, 2)] if cell.timed else [NOT_RUN, NOT_RUN]
        targets = "every target" if len(cell.targets) == len(TARGETS) else ", ".join(cell.targets)
        size = f"{cell.bundle.size_bytes / 1e6:.1f} MB"
        print("| " + " | ".join([cell.recipe, targets, size, *values, *times]) + " |")
    print()


def _print_estimated(cells: list[Cell], linear: int) -> None:
    recipes = [FLOAT, *ROWS]
    print(f"**Estimates**, {TOKENS} tokens, {MASKED} of them to fill: the least time of a text in ms.\n")
    print("| target | chip | " + " | ".join(recipes) + " |\n| --- | --- |" + " --- |" * len(recipes))
    for chip in CHIPS:
        own = {cell.recipe: cell.bundle for cell in cells if chip.target in cell.targets}
        print(
            f"| {chip.target} | {chip.name}, {chip.cores} cores | "
            + " | ".join(f"> {least_ms(own[r], linear, chip):.2g}" for r in recipes)
            + " |"
        )


if __name__ == "__main__":
    main()
