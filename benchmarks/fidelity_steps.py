"""What raises fidelity, and what it costs: the static int8 graph with one step more at a time.

    python benchmarks/fidelity_steps.py MODEL CORPUS [--examples 500] [--rounds 12]

MODEL is a checkpoint folder or a built-in name. Every row is a real graph on this machine: fidelity against float with
95 % intervals, and latency for one text with 15 % of its positions masked, all rows interleaved, as a ratio to the
default recipe. Prints Markdown. Install with ``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np
from decision import decide
from numpy.typing import NDArray

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.evaluate.latency import Workload, interleave, paired_ratio, workload_batch
from bertedge.evaluate.metrics import MetricValue
from bertedge.graph import plan as layers
from bertedge.graph.bert import build_graph
from bertedge.graph.layers import nearest
from bertedge.graph.plan import Int8Rows, NumberFormat, StaticInt8
from bertedge.graph.rounding import QuantizedRows, Rounding, Roundings
from bertedge.predictor import Batch, Outputs
from bertedge.quantization import static
from bertedge.quantization.job import Decision
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.runtime.engine import Engine
from bertedge.runtime.session import Sessions
from bertedge.runtime.threads import usable_cpus

METRICS = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate")
LENGTHS = (16, 128)
DEFAULT = "the default recipe: these three"
FINER = {
    "+ 16-bit input of query, key, value": ("*.qkv",),
    "+ 16-bit input of the attention's output layer": ("*.attention.output",),
    "+ 16-bit input of the first feed-forward layer": ("*.intermediate",),
    "+ 16-bit input of the second feed-forward layer": ("encoder.layer.?.output", "encoder.layer.??.output"),
    "+ 16-bit input of the decoder": ("mlm.decoder",),
    "the faithful recipe: all of these": ("*",),
}


@dataclass(frozen=True)
class Remembered:
    """A rounding that solves each matrix once, since the rows of the table share most of theirs."""

    inner: Rounding
    solved: dict[tuple, QuantizedRows]

    def __call__(self, matrix: NDArray[np.float32], weight_range: int) -> QuantizedRows:
        key = (type(self.inner), matrix.shape, weight_range, matrix.tobytes()[:4096], float(matrix.sum()))
        if key not in self.solved:
            self.solved[key] = self.inner(matrix, weight_range)
        return self.solved[key]

    def scaled(self, factors: NDArray[np.float32]) -> Remembered:
        return Remembered(self.inner.scaled(factors), self.solved)


class Candidate:
    """A graph as a predictor."""

    def __init__(self, name: str, path: Path, checkpoint: Checkpoint) -> None:
        self.name = name
        sessions = Sessions(path, threads=usable_cpus())
        self.engine = Engine(sessions, checkpoint.config, all_positions=False, row_independent=True)

    def predict(self, batch: Batch) -> Outputs:
        return self.engine.predict(batch)


def steps(decision: Decision) -> dict[str, tuple[dict[str, NumberFormat], Roundings]]:
    """Name -> plan and roundings; the first without any of the steps."""
    assert decision.ranges is not None
    plan, solved = dict(decision.plan), {}

    def remembered(layer: str) -> Rounding:
        return Remembered(decision.roundings(layer), solved)

    decoder = plan[layers.MLM_DECODER]
    assert isinstance(decoder, StaticInt8)
    seen = decision.ranges.seen(layers.MLM_DECODER)
    bare = plan | {
        layers.WORD_TABLE: Int8Rows(weight_range=decoder.weight_range),
        layers.MLM_DECODER: static._plain(seen.low, seen.high, decoder.weight_range),
    }
    exact = bare | {layers.WORD_TABLE: plan[layers.WORD_TABLE]}
    rows = {
        "none of these steps": (bare, nearest),
        "weights compensated": (bare, remembered),
        "+ frequent words looked up exactly": (exact, remembered),
        DEFAULT: (plan, remembered),
    }
    for name, patterns in FINER.items():
        chosen = {
            layer: static._finer(form)
            for layer, form in plan.items()
            if any(fnmatchcase(layer, p) for p in patterns)
            and (isinstance(form, StaticInt8) or layer == layers.POSITION_TABLE)
        }
        rows[name] = (plan | chosen, remembered)
    return rows


def latency(candidates: list[Candidate], checkpoint: Checkpoint, corpus: TokenizedCorpus, rounds: int) -> list[str]:
    """A cell for each candidate: its ratios to the default recipe at each length."""
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    cells: list[list[str]] = [[] for _ in candidates]
    base = [candidate.name for candidate in candidates].index(DEFAULT)
    for length in LENGTHS:
        batch = workload_batch(Workload(batch_size=1, seq_len=length), corpus, layout)
        samples = interleave([partial(candidate.predict, batch) for candidate in candidates], rounds=rounds)
        for cell, own in zip(cells, samples, strict=True):
            ratio = paired_ratio(own, samples[base])
            cell.append(f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    return [" | ".join(cell) for cell in cells]


def show(value: MetricValue) -> str:
    """Value and interval."""
    return f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f})"


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.model)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    calibration = tokenize_corpus(default_text(), checkpoint.tokenizer)
    corpus = tokenize_corpus(options.corpus, checkpoint.tokenizer)
    batches = evaluation_batches(corpus, layout, examples=options.examples, max_length=128, seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        decision = decide(checkpoint, QuantizationRecipe(method=Static(rounding="compensated")), calibration)
        graphs = {"float": ({}, nearest), **steps(decision)}
        candidates = []
        for index, (name, (plan, roundings)) in enumerate(graphs.items()):
            path = Path(scratch) / f"{index}.onnx"
            build_graph(checkpoint, plan, roundings=roundings).builder.write(path)
            candidates.append(Candidate(name, path, checkpoint))
        reference, *others = candidates
        fidelity = measure_fidelity(reference, others, batches)
        times = latency(others, checkpoint, corpus, options.rounds)
        print(f"### {checkpoint.name}\n\n| | " + " | ".join(METRICS) + " | 16 tokens: ratio | 128 tokens: ratio |")
        print("| --- |" + " --- |" * (len(METRICS) + 2))
        for candidate, values, time in zip(others, fidelity, times, strict=True):
            print(f"| {candidate.name} | " + " | ".join(show(values[m]) for m in METRICS) + f" | {time} |")
        print()


if __name__ == "__main__":
    main()
