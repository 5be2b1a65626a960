"""The end of a graph: the rows that the last block computes, and the heads that read them.

Shapes as in :mod:`bertedge.graph.encoder_graph`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from onnx import TensorProto

from bertedge.graph.head_recorder import HeadRecorder
from bertedge.graph.writer import LayerWriter
from bertedge.heads import Head
from bertedge.plan import HeadReads, StoredHead
from bertedge.predictor import POOLER_OUTPUT


def read_positions(w: LayerWriter) -> str:
    """(B, 1 + K + J): ``[CLS]``, the masked positions, the hidden positions."""
    g = w.g
    zero, one = (g.constant(f"read.{n}", [v], np.int64) for n, v in (("zero", 0), ("one", 1)))
    batch = g.op("Shape", ["input_ids"], "read.batch", start=0, end=1)
    column = g.op("Concat", [batch, one], "read.column", axis=0)  # (B, 1)
    first = g.op("Expand", [zero, column], "read.cls")
    hidden = g.op("Expand", ["hidden_positions", column], "read.hidden")
    return g.op("Concat", [first, "masked_positions", hidden], "read.positions", axis=1)


def read_rows(w: LayerWriter, x: str, positions: str, name: str = "read.rows") -> str:
    """The rows of x (B, S, H) at positions (B, R): (B, R, H)."""
    last = w.g.constant("read.last", [-1], np.int64)
    return w.g.op("GatherND", [x, w.g.once("Unsqueeze", [positions, last], "read.index")], name, batch_dims=1)


def mean_row(w: LayerWriter, x: str) -> str:
    """The mean of x over the tokens of each text: (B, S, H) -> (B, H)."""
    g, axis = w.g, w.g.constant("mean.axis", [1], np.int64)
    mask = g.op("Cast", ["attention_mask"], "mean.mask", to=TensorProto.FLOAT)
    shares = g.op("Div", [mask, g.op("ReduceSum", [mask, axis], "mean.count")], "mean.shares")
    summed = g.op("MatMul", [g.op("Unsqueeze", [shares, axis], "mean.row"), x], "mean.sum")
    return g.op("Squeeze", [summed, axis], "mean")


def read_heads(w: LayerWriter, x: str, mean: str = "") -> None:
    """The heads on the rows that were read, (B, 1 + K + J, H).

    Args:
        mean: (B, H), for heads that read the mean.
    """
    g, config = w.g, w.config
    masked = g.op("Shape", ["masked_positions"], "read.masked_count", start=1, end=2)
    one = g.constant("read.one", [1], np.int64)
    hidden = g.op("Shape", ["hidden_positions"], "read.hidden_count", start=0, end=1)
    counts = g.op("Concat", [one, masked, hidden], "read.counts", axis=0)
    first, for_masked, for_every = g.op("Split", [x, counts], "read.split", outputs=3, axis=1)
    g.output(
        for_every, w.parts.output_names("masked")["embedding"][0], np.float32, ("batch", "hidden", config.hidden_size)
    )
    _heads(w, "masked", for_masked, "masked")
    _heads(w, "every", for_every, "hidden")
    _text_heads(w, g.op("Squeeze", [first, one], "pooler.cls"), mean)


def all_heads(w: LayerWriter, x: str, mean: str = "") -> None:
    """The heads at every position, (B, S, H), under the names that Optimum and its pipelines use."""
    g, config = w.g, w.config
    if w.parts.reads_masked:
        # onnxruntime computes every output, also unused ones; a head without rows costs nothing
        zero = g.constant("mlm.start", [0], np.int64)
        rows = g.op("Slice", [x, zero, "logits_end", g.constant("mlm.axis", [1], np.int64)], "mlm.rows")
        # the dimension keeps the name of the inputs' dimension: Optimum looks up its length there
        _heads(w, "masked", rows, "sequence")
    g.output(x, w.parts.output_names("all")["embedding"][0], np.float32, ("batch", "sequence", config.hidden_size))
    _heads(w, "every", x, "sequence")
    _text_heads(w, g.op("Gather", [x, g.constant("pooler.zero", 0, np.int64)], "pooler.cls", axis=1), mean)


def _heads(w: LayerWriter, reads: Literal["masked", "every"], x: str, dimension: str) -> None:
    """The heads whose ``reads`` has this value: (B, K, H) -> (B, K, size)."""
    for head in w.parts.rows:
        if head.reads == reads:
            _outputs(w, head, reads, x, ("batch", dimension))


def _text_heads(w: LayerWriter, first: str, mean: str) -> None:
    """The pooler, and the heads that read it, the first token or the mean: (B, H) -> (B, H), (B, size)."""
    values: dict[HeadReads, str] = {"first": first, "mean": mean}
    if w.parts.pooler:
        values["pooler"] = w.g.op("Tanh", [w.linear("pooler", first)], "pooler.tanh")
        w.g.output(values["pooler"], POOLER_OUTPUT, np.float32, ("batch", w.config.hidden_size))
    for head in w.parts.rows:
        if head.reads in ("first", "pair"):
            told = w.parts.settings_of(head.name)
            reads: HeadReads = "pooler" if head.reads_pooler(told) else "mean" if head.reads_mean(told) else "first"
            _outputs(w, head, reads, values[reads], ("batch",))


def _outputs(w: LayerWriter, head: Head, reads: HeadReads, x: str, shape: tuple[str, ...]) -> None:
    """Write a head, and declare its output, or an output for each number of the last extent: (..., H) -> (..., size).

    Args:
        shape: the dimensions before the last one.
    """
    model, recorder = w.parts.structure(head.name, w.config), HeadRecorder(w)
    logits, names = head.write(recorder, model, x), w.parts.output_names(w.positions)[head.name]
    w.graph.heads[head.name] = StoredHead(reads=reads, steps=tuple(recorder.steps))
    if len(names) == 1:
        w.g.output(logits, names[0], np.float32, (*shape, head.size(model)))
        return
    for column, name in enumerate(names):
        index = w.g.constant(f"{head.name}.column_{column}", column, np.int64)
        w.g.output(w.g.op("Gather", [logits, index], f"{head.name}.{name}", axis=-1), name, np.float32, shape)
