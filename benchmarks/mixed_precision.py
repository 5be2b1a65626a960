"""Measure what each layer loses in int8, and what promoting the worst layers brings and costs.

    python benchmarks/mixed_precision.py MODEL CORPUS [--examples 400] [--rounds 15] [--recipe default]

MODEL is a checkpoint folder or a built-in name. Layers are measured on the text that ships with bertedge. The promoted
models and float are measured on CORPUS, all interleaved on one thread. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from measuring import MAX_LENGTH, Sample, arguments, show

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.evaluate.latency import Workload
from bertedge.quantization import export, quantize, sensitivity
from bertedge.quantization.promote import taken_of
from bertedge.quantization.result_cache import Cache
from bertedge.quantization.sensitivity import FLOAT16, Sensitivity, recipe_with
from bertedge.recipe import RECIPES, QuantizationRecipe
from bertedge.runtime import load

METRICS = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate", "mlm.top1_accuracy_drop")
HEADS = ("mlm",)
SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)


def layer_table(found: Sensitivity) -> list[str]:
    """A line for every promotion, the best for its cost first."""
    lines = [
        f"{found.examples} texts, {found.positions} masked positions; as decided: "
        + ", ".join(f"{metric} {value:.3g}" for metric, value in found.losses.items()),
        "",
        "| layer | to | mlm.kl_mean | nsp.prob_mae | added work | added bytes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(found.remedies, key=lambda r: -found.gain(r, HEADS) / r.cost):
        to = "float16" if r.field == FLOAT16 else "16-bit activations"
        kl, mae = (r.losses.get(metric, math.nan) for metric in ("mlm.kl_mean", "nsp.prob_mae"))
        lines.append(f"| {r.group} | {to} | {kl:.2e} | {mae:.2e} | {r.work:.1%} | {r.bytes:.1%} |")
    return lines


def make(
    checkpoint: Checkpoint, recipe: QuantizationRecipe, found: Sensitivity, cache: Cache, scratch: Path
) -> dict[str, Bundle]:
    """The recipe with more and more of the promotions."""
    steps = found.path(HEADS)
    counts = sorted({math.ceil(share * len(steps)) for share in SHARES})
    return {
        f"{count} of {len(steps)} promotions": quantize(
            checkpoint, scratch / f"{count}", recipe=recipe_with(recipe, taken_of(steps[:count])), cache=cache
        )
        for count in counts
    }


def main() -> None:
    """Print both tables of one model."""
    parser = arguments(__doc__, examples=400, rounds=15)
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    options = parser.parse_args()
    checkpoint, recipe, cache = open_checkpoint(options.model), RECIPES[options.recipe], Cache()
    found = sensitivity(checkpoint, recipe=recipe, cache=cache)
    print(f"### {checkpoint.name}\n\n" + "\n".join(layer_table(found)) + "\n")
    sample = Sample.of(checkpoint, options.corpus, options.examples)
    length = min(MAX_LENGTH, checkpoint.config.max_length)
    with tempfile.TemporaryDirectory() as scratch:
        bundles = make(checkpoint, recipe, found, cache, Path(scratch))
        reference = load(export(checkpoint, Path(scratch) / "float").folder, threads=1)
        models = [load(bundle.folder, threads=1) for bundle in bundles.values()]
        fidelity = measure_fidelity(reference, models, sample.batches)
        ratios = sample.ratios(models, Workload(batch_size=1, seq_len=length), rounds=options.rounds)
    print(f"| | {' | '.join(METRICS)} | int8 MACs | file | {length} tokens: ratio |")
    print("| --- |" + " --- |" * (len(METRICS) + 3))
    for (name, bundle), values, ratio in zip(bundles.items(), fidelity, ratios, strict=True):
        cells = [show(values[metric]) if metric in values else "-" for metric in METRICS]
        cells += [f"{bundle.manifest.coverage.macs:.1%}", f"{bundle.size_bytes / 1e6:.1f} MB", show(ratio, 2)]
        print(f"| {name} | {' | '.join(cells)} |")
    print()


if __name__ == "__main__":
    main()
