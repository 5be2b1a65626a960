"""What is read from the encoder: rows for the last block, and the heads.

Shapes as in :mod:`bertedge.graph.encoder_graph`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import names
from bertedge.graph.formats import StaticInt8
from bertedge.graph.linear import OwnWeights, Weights
from bertedge.graph.tables import TableWeights
from bertedge.graph.writer import LayerWriter
from bertedge.layers import Layer, Role


def read_rows(w: LayerWriter, x: str) -> str:
    """(B, S, H) -> (B, 1 + K + J, H): ``[CLS]``, the masked positions, the hidden positions."""
    g = w.g
    zero, one, last = (g.constant(f"read.{n}", [v], np.int64) for n, v in (("zero", 0), ("one", 1), ("last", -1)))
    batch = g.op("Shape", ["input_ids"], "read.batch", start=0, end=1)
    column = g.op("Concat", [batch, one], "read.column", axis=0)  # (B, 1)
    first = g.op("Expand", [zero, column], "read.cls")
    hidden = g.op("Expand", ["hidden_positions", column], "read.hidden")
    positions = g.op("Concat", [first, "masked_positions", hidden], "read.positions", axis=1)
    return g.op("GatherND", [x, g.op("Unsqueeze", [positions, last], "read.index")], "read.rows", batch_dims=1)


def read_heads(w: LayerWriter, x: str) -> None:
    """The heads on the rows that were read, (B, 1 + K + J, H)."""
    g, config = w.g, w.config
    masked = g.op("Shape", ["masked_positions"], "read.masked_count", start=1, end=2)
    one = g.constant("read.one", [1], np.int64)
    hidden = g.op("Shape", ["hidden_positions"], "read.hidden_count", start=0, end=1)
    counts = g.op("Concat", [one, masked, hidden], "read.counts", axis=0)
    first, for_mlm, for_hidden = g.op("Split", [x, counts], "read.split", outputs=3, axis=1)
    g.output(for_hidden, "hidden_states", np.float32, ("batch", "hidden", config.hidden_size))
    if "mlm" in w.heads:
        g.output(_mlm(w, for_mlm), "mlm_logits", np.float32, ("batch", "masked", config.vocab_size))
    _pooled_heads(w, g.op("Squeeze", [first, one], "pooler.cls"))


def all_heads(w: LayerWriter, x: str) -> None:
    """The heads at every position, (B, S, H), under the names that Optimum and its pipelines use."""
    g, config = w.g, w.config
    if "mlm" in w.heads:
        # onnxruntime computes outputs that nobody asks for too; a head on no rows costs nothing
        zero = g.constant("mlm.start", [0], np.int64)
        rows = g.op("Slice", [x, zero, "logits_end", g.constant("mlm.axis", [1], np.int64)], "mlm.rows")
        # the dimension is called as where nothing is cut: Optimum looks its length up among the inputs'
        g.output(_mlm(w, rows), "logits", np.float32, ("batch", "sequence", config.vocab_size))
    g.output(x, "last_hidden_state", np.float32, ("batch", "sequence", config.hidden_size))
    _pooled_heads(w, g.op("Gather", [x, g.constant("pooler.zero", 0, np.int64)], "pooler.cls", axis=1))


def _mlm(w: LayerWriter, x: str) -> str:
    """The MLM head: (B, K, H) -> (B, K, V)."""
    transform, decoder = w.layers[Role.HEAD_TRANSFORM], w.layers[Role.DECODER]
    inner = w.linear(transform, x)
    inner = w.activation(f"{transform.name}.activation", inner)
    divisors = w.decoder_divisors
    inner = w.layer_norm(f"{transform.name}.norm", names.MLM_TRANSFORM, inner, divisors)
    weights = _decoder_weights(w, decoder)
    form = w.record_format(decoder, inner)
    if divisors and isinstance(form, StaticInt8):  # the layer norm has divided, the matrix is multiplied
        form = replace(form, input_divisors=())
    return w.multiply(decoder, form, decoder.name, inner, weights)


def _decoder_weights(w: LayerWriter, decoder: Layer) -> Weights:
    """The MLM head's decoder: the words' table, or a matrix of its own."""

    def load_bias() -> NDArray[np.float32]:
        return w.checkpoint.tensor(names.DECODER_BIAS)

    if decoder.tied_to is not None:
        return TableWeights(table=w.word_table(), load_bias=load_bias)
    shape = (decoder.outputs, decoder.inputs)
    load, rounding = (lambda: w.checkpoint.tensor(names.DECODER)), w.roundings(decoder.name)
    weights = OwnWeights(shape=shape, load=load, load_bias=load_bias, rounding=rounding)
    divisors = np.asarray(w.decoder_divisors, dtype=np.float32)
    return weights.with_columns_scaled(divisors) if len(divisors) else weights


def _pooled_heads(w: LayerWriter, first: str) -> None:
    """The pooler and the next-sentence head on ``[CLS]``: (B, H) -> (B, H), (B, 2)."""
    if "pooler" not in w.heads:
        return
    g = w.g
    pooled = g.op("Tanh", [w.linear(w.layers[Role.POOLER], first)], "pooler.tanh")
    g.output(pooled, "pooler_output", np.float32, ("batch", w.config.hidden_size))
    if "nsp" in w.heads:
        g.output(w.linear(w.layers[Role.CLASSIFIER], pooled), "nsp_logits", np.float32, ("batch", 2))
