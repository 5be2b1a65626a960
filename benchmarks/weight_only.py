"""Compare weight-only bundles of all bits and block sizes with the default recipe: size, fidelity, latency.

    python benchmarks/weight_only.py MODEL CORPUS [--examples 200] [--rounds 0]
    python benchmarks/weight_only.py MODEL CORPUS --rounds 15 --rows static,4x64,8x64

MODEL is a checkpoint folder or a built-in name. Every row is a bundle, run through bertedge's runtime; fidelity is
against float, with 95 % intervals. With ``--rounds``, texts of a few lengths with 15 % of their positions masked are
timed as well, all rows interleaved, as ratios to the first row. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from measuring import METRICS, Sample, arguments, show

from bertedge.checkpoint import open_checkpoint
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.evaluate.latency import Workload
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe, Static, WeightOnly
from bertedge.runtime import load

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


def main() -> None:
    """Print the table of one model."""
    parser = arguments(__doc__, examples=200, rounds=0)
    parser.add_argument("--rows", default=",".join(ROWS))
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.model)
    sample = Sample.of(checkpoint, options.corpus, options.examples)
    workloads = WORKLOADS if options.rounds else ()
    with tempfile.TemporaryDirectory() as scratch:
        reference = load(export(checkpoint, Path(scratch) / "float").folder)
        chosen = options.rows.split(",")
        models = [
            load(quantize(checkpoint, Path(scratch) / row, recipe=QuantizationRecipe(method=ROWS[row][1])).folder)
            for row in chosen
        ]
        fidelity = measure_fidelity(reference, models, sample.batches)
        times = [sample.ratios(models, workload, rounds=options.rounds) for workload in workloads]
        columns = [*METRICS, *(f"{w.batch_size} x {w.seq_len}" for w in workloads)]
        print(f"### {checkpoint.name}\n\n| | file | " + " | ".join(columns) + " |")
        print("| --- |" + " --- |" * (len(columns) + 1))
        for place, (row, model, values) in enumerate(zip(chosen, models, fidelity, strict=True)):
            cells = [
                ROWS[row][0],
                f"{model.bundle.size_bytes / 1e6:.1f} MB",
                *(show(values[m]) for m in METRICS),
                *(show(ratios[place], 2) for ratios in times),
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
