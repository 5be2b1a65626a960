"""Measure what raises fidelity and what it costs: the static int8 graph with one more step at a time.

    python benchmarks/fidelity_steps.py MODEL CORPUS [--examples 500] [--rounds 12]

MODEL is a checkpoint folder or a built-in name. Every row is a real graph on this machine: fidelity against float with
95 % intervals, and latency for one text with 15 % of its positions masked, all rows interleaved, as a ratio to the
default recipe. Prints Markdown. Install with ``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from decision import decide
from measuring import METRICS, Sample, arguments, show

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.engines.onnxruntime.executor import open_file
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.evaluate.latency import Workload
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.formats import Int8Rows, NumberFormat, StaticInt8
from bertedge.graph.rounding import Roundings
from bertedge.graph.writer import nearest
from bertedge.quantization import static
from bertedge.quantization.job import Decision
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.runtime.row_runner import RowRunner

WORKLOADS = (Workload(batch_size=1, seq_len=16), Workload(batch_size=1, seq_len=128))
DEFAULT = "the default recipe: these three"
FINER = {
    "+ 16-bit input of query, key, value": ("*.qkv",),
    "+ 16-bit input of the attention's output layer": ("*.attention.output",),
    "+ 16-bit input of the first feed-forward layer": ("*.intermediate",),
    "+ 16-bit input of the second feed-forward layer": ("encoder.layer.?.output", "encoder.layer.??.output"),
    "+ 16-bit input of the decoder": ("mlm.decoder",),
    "the faithful recipe: all of these": ("*",),
}


def open_graph(name: str, path: Path, checkpoint: Checkpoint) -> RowRunner:
    """A graph as a predictor."""
    config, parts = checkpoint.config, checkpoint.parts
    executor = open_file(path, config, parts=parts, threads=usable_cpus(), row_independent=True)
    return RowRunner(name=name, executor=executor, config=config, row_independent=True)


def steps(decision: Decision) -> dict[str, tuple[dict[str, NumberFormat], Roundings]]:
    """Name -> plan and roundings; the first has none of the steps."""
    assert decision.ranges is not None
    plan, compensated = dict(decision.plan), decision.roundings
    decoder = plan["mlm.decoder"]
    assert isinstance(decoder, StaticInt8)
    seen = decision.ranges.seen("mlm.decoder")
    bare = plan | {
        "embeddings.word": Int8Rows(weight_range=decoder.weight_range),
        "mlm.decoder": static._plain(seen.low, seen.high, decoder.weight_range),
    }
    exact = bare | {"embeddings.word": plan["embeddings.word"]}
    rows = {
        "none of these steps": (bare, nearest),
        "weights compensated": (bare, compensated),
        "+ frequent words looked up exactly": (exact, compensated),
        DEFAULT: (plan, compensated),
    }
    for name, patterns in FINER.items():
        chosen = {
            layer: static._finer(form)
            for layer, form in plan.items()
            if any(fnmatchcase(layer, p) for p in patterns)
            and (isinstance(form, StaticInt8) or layer == "embeddings.position")
        }
        rows[name] = (plan | chosen, compensated)
    return rows


def main() -> None:
    """Print the table of one model."""
    options = arguments(__doc__, examples=500, rounds=12).parse_args()
    checkpoint = open_checkpoint(options.model)
    sample = Sample.of(checkpoint, options.corpus, options.examples)
    with tempfile.TemporaryDirectory() as scratch:
        decision = decide(checkpoint, QuantizationRecipe(method=Static(rounding="compensated")))
        graphs = {"float": ({}, nearest), **steps(decision)}
        candidates = []
        for index, (name, (plan, roundings)) in enumerate(graphs.items()):
            path = Path(scratch) / f"{index}.onnx"
            build_graph(checkpoint, plan, roundings=roundings).builder.write(path)
            candidates.append(open_graph(name, path, checkpoint))
        reference, *others = candidates
        fidelity = measure_fidelity(reference, others, sample.batches)
        base = [candidate.name for candidate in others].index(DEFAULT)
        times = [sample.ratios(others, workload, rounds=options.rounds, to=base) for workload in WORKLOADS]
        print(f"### {checkpoint.name}\n\n| | " + " | ".join(METRICS) + " | 16 tokens: ratio | 128 tokens: ratio |")
        print("| --- |" + " --- |" * (len(METRICS) + 2))
        for place, (candidate, values) in enumerate(zip(others, fidelity, strict=True)):
            cells = [*(show(values[m]) for m in METRICS), *(show(ratios[place], 2) for ratios in times)]
            print(f"| {candidate.name} | " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main()
