"""Weight-only bundles of every number of bits and block size beside the default recipe: size, fidelity, latency.

    python benchmarks/weight_only.py MODEL CORPUS [--examples 200] [--rounds 0]
    python benchmarks/weight_only.py MODEL CORPUS --rounds 15 --rows static,4x64,8x64

MODEL is a checkpoint folder or a built-in name. Every row is a bundle, run through bertedge's runtime; fidelity is
against float, with 95 % intervals. With ``--rounds``, texts of a few lengths with 15 % of their positions masked are
timed as well, all rows interleaved, as ratios to the first row. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

from bertedge.checkpoint import open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.evaluate.latency import Workload, interleave, paired_ratio, workload_batch
from bertedge.evaluate.metrics import MetricValue
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe, Static, WeightOnly
from bertedge.runtime import BertRuntime, load

METRICS = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate")
WORKLOADS = tuple(Workload(batch_size=rows, seq_len=tokens) for rows, tokens in ((1, 8), (1, 16), (2, 16), (1, 128)))
#: Name on the command line -> words in the table, method.
ROWS = {
    "static": ("the default recipe", Static()),
    **{
        f"{bits}x{size}": (f"{bits} bits, blocks of {size}", WeightOnly(bits=bits, block_size=size))
        for bits, sizes in ((4, (32, 64, 128)), (8, (32, 64, 128)))
        for size in sizes
    },
    "4x64-nearest": ("4 bits, blocks of 64, nearest steps", WeightOnly(rounding="nearest")),
}


def latency(models: list[BertRuntime], corpus: Path, rounds: int) -> list[list[str]]:
    """Cells of each model: its ratio to the first at each workload."""
    first = models[0]
    layout = Layout.of(first.tokenizer, first.bundle.config.vocab_size)
    text = tokenize_corpus(corpus, first.tokenizer)
    cells: list[list[str]] = [[] for _ in models]
    for workload in WORKLOADS:
        batch = workload_batch(workload, text, layout)
        timings = interleave([partial(model.predict, batch) for model in models], rounds=rounds)
        for cell, own in zip(cells, timings, strict=True):
            ratio = paired_ratio(own.blocks, timings[0].blocks)
            cell.append(f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    return cells


def show(value: MetricValue) -> str:
    """Value and interval."""
    return f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f})"


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--rows", default=",".join(ROWS))
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.model)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    corpus = tokenize_corpus(options.corpus, checkpoint.tokenizer)
    batches = evaluation_batches(corpus, layout, examples=options.examples, max_length=128, seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        reference = load(export(checkpoint, Path(scratch) / "float").folder)
        chosen = options.rows.split(",")
        models = [
            load(quantize(checkpoint, Path(scratch) / row, recipe=QuantizationRecipe(method=ROWS[row][1])).folder)
            for row in chosen
        ]
        fidelity = measure_fidelity(reference, models, batches)
        times = latency(models, options.corpus, options.rounds) if options.rounds else [[] for _ in models]
        columns = [*METRICS, *(f"{w.batch_size} x {w.seq_len}" for w in WORKLOADS if options.rounds)]
        print(f"### {checkpoint.name}\n\n| | file | " + " | ".join(columns) + " |")
        print("| --- |" + " --- |" * (len(columns) + 1))
        for row, model, values, time in zip(chosen, models, fidelity, times, strict=True):
            cells = [
                ROWS[row][0],
                f"{model.bundle.size_bytes / 1e6:.1f} MB",
                *(show(values[m]) for m in METRICS),
                *time,
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
