"""Measure each choice in the graph: the graph as it is, and graphs with one choice made differently.

    python benchmarks/graph_choices.py [MODEL ...] [--rounds 12] [--lengths 1x16,1x128] [--threads 2]

MODEL is a checkpoint folder, a built-in name, or ``random-12x768`` or ``random-6x384`` for random weights of that size;
default: the built-in model. Every graph is the static int8 graph of this machine, run as a plain onnxruntime session on
texts with 15 % of their positions masked. The rows "for QAttention" show, on a CPU with AMX, whether attention is
better split there. ``--threads`` defaults to all CPUs that this process may use. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
from decision import decide
from peers.models import open_model

from bertedge.checkpoint import BUILT_IN, Checkpoint
from bertedge.cli.bench import parse_grid
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.latency import interleave, paired_ratio, workload_batch
from bertedge.graph.builder import MICROSOFT
from bertedge.graph.encoder_graph import EncoderWriter
from bertedge.graph.formats import Int8, NumberFormat, Plan
from bertedge.graph.heads import read_heads, read_positions, read_rows
from bertedge.graph.linear import linear
from bertedge.graph.writer import EncoderGraph
from bertedge.layers import Layer
from bertedge.recipe import QuantizationRecipe


class SkipNorm(EncoderWriter):
    """Skip connection and layer norm in one operator."""

    def add_norm(self, layer: Layer, owner: str, x: str, skip: str) -> str:
        name = f"{layer.name}.norm"
        weight, bias = self.norm_tensors(name, owner)
        epsilon = self.config.layer_norm_eps
        return self.g.op("SkipLayerNormalization", [x, skip, weight, bias], name, domain=MICROSOFT, epsilon=epsilon)


class NoMask(EncoderWriter):
    """Attention without a mask, which allows onnxruntime's blockwise attention."""

    def _mask(self) -> str:
        return ""


class JoinedMatmul(EncoderWriter):
    """Query, key and value as one matmul, Split, and MultiHeadAttention."""

    def _has_one_operator(self, form: Int8) -> bool:
        return False


class ThreeMatmuls(JoinedMatmul):
    """Query, key and value as three matmuls, and MultiHeadAttention."""

    def _projections(self, layer: Layer, form: NumberFormat, x: str, read: str) -> list[str]:
        if read != x:
            return super()._projections(layer, form, x, read)
        return [
            linear(form, self.g, f"{layer.name}.{owner.split('.')[-1]}", x, self.weights(layer, (owner,)))
            for owner in layer.owners
        ]


class WholeLastBlock(EncoderWriter):
    """The last block at every position; rows are selected after it."""

    def build(self) -> EncoderGraph:
        self._declare_inputs()
        x = self._embeddings()
        for index in range(self.config.num_hidden_layers):
            x = self._block(index, x)
        read_heads(self, read_rows(self, x, read_positions(self)))
        return self.graph


CHOICES: dict[str, type[EncoderWriter]] = {
    "as it is": EncoderWriter,
    "attention without a mask": NoMask,
    "SkipLayerNormalization for Add + LayerNormalization": SkipNorm,
    "one QKV matmul + Split + MultiHeadAttention for QAttention": JoinedMatmul,
    "three QKV matmuls + MultiHeadAttention for QAttention": ThreeMatmuls,
    "last block at every position": WholeLastBlock,
}
EXTENDED = "onnxruntime's extended optimisations"


def main() -> None:
    """Print one table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[BUILT_IN[0]])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--lengths", type=parse_grid, default="1x16,1x128", help="BATCHxTOKENS, separated by commas")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    options = parser.parse_args()
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = open_model(model, Path(folder)).checkpoint
            corpus = tokenize_corpus(default_text(), checkpoint.tokenizer)
            recipe = QuantizationRecipe()
            plan = decide(checkpoint, recipe).plan
            compare(checkpoint, plan, corpus, Path(folder), options)


def compare(
    checkpoint: Checkpoint, plan: Plan, corpus: TokenizedCorpus, folder: Path, options: argparse.Namespace
) -> None:
    """Print the table of one model."""
    sessions = {}
    for index, (choice, writer) in enumerate(CHOICES.items()):
        path = folder / f"{index}.onnx"
        writer(checkpoint, plan, "masked").build().builder.write(path)
        sessions[choice] = session(path, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, options.threads)
    sessions[EXTENDED] = session(folder / "0.onnx", ort.GraphOptimizationLevel.ORT_ENABLE_ALL, options.threads)
    cells: dict[str, list[str]] = {choice: [] for choice in sessions}
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    for workload in options.lengths:
        batch = workload_batch(workload, corpus, layout)
        fields = ("input_ids", "attention_mask", "token_type_ids", "masked_positions")
        feed = {name: getattr(batch, name) for name in fields}
        timings = interleave([partial(s.run, None, feed) for s in sessions.values()], rounds=options.rounds)
        for choice, own in zip(sessions, timings, strict=True):
            ratio = paired_ratio(own.blocks, timings[0].blocks)
            cells[choice].append(f"{np.median(own.calls):.2f}, {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    heads = [f"{one.batch_size} x {one.seq_len} tokens: ms, ratio (95 %)" for one in options.lengths]
    print(f"### {checkpoint.name}\n\n| graph | " + " | ".join(heads) + " |")
    print("| --- |" + " --- |" * len(heads))
    for choice, row in cells.items():
        print(f"| {choice} | " + " | ".join(row) + " |")
    print(flush=True)


def session(path: Path, level: ort.GraphOptimizationLevel, threads: int) -> ort.InferenceSession:
    """A plain onnxruntime session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
