"""BERT as an ONNX graph, from a checkpoint and a plan (Devlin et al. 2019; Vaswani et al. 2017, section 3).

Shapes: B rows, S positions, H hidden size, V pieces, K masked positions of a row, J further positions to read.
One graph serves every use: the last block computes only the positions that are read (``[CLS]`` for the next-sentence
head, K for the MLM head, J for hidden states), so asking for none of something costs nothing. The graph that computes
every position, for the ecosystem's tools, can leave the MLM head out of a call all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from bertedge.checkpoint import Checkpoint, names
from bertedge.errors import CheckpointError
from bertedge.graph import plan as layers
from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.linear import OwnWeights, Weights, has_int8_attention, int8_attention, linear
from bertedge.graph.plan import BlockNames, Float32, Int8, Int8Rows, NumberFormat, Plan, StaticInt8
from bertedge.graph.rounding import NEAREST, Rounding, Roundings
from bertedge.graph.tables import Table, TableWeights, look_up, table

#: ``masked``: the MLM head at ``masked_positions`` only. ``all``: at every position, under the ecosystem's names.
Positions = Literal["masked", "all"]
#: Beyond the end of any text, for ``Slice``.
EVERYWHERE = 2**62


@dataclass
class BertGraph:
    """A built graph.

    Attributes:
        builder: its nodes and tensors; ``builder.write(path)`` writes the file.
        linear_inputs: layer name -> the value that the layer reads, for calibration.
        linear_shapes: layer name -> (outputs, inputs).
        at_read_rows: layers of the last block that are computed only for the rows that are read.
    """

    builder: GraphBuilder
    positions: Positions
    linear_inputs: dict[str, str] = field(default_factory=dict)
    linear_shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    at_read_rows: set[str] = field(default_factory=set)


def nearest(layer: str) -> Rounding:
    """Every layer's weights to the nearest step."""
    return NEAREST


def build_graph(
    checkpoint: Checkpoint, plan: Plan, *, positions: Positions = "masked", roundings: Roundings = nearest
) -> BertGraph:
    """Build the graph of a checkpoint.

    Inputs are ``input_ids``, ``attention_mask``, ``token_type_ids`` (B, S) int64 and, with ``positions="masked"``,
    ``masked_positions`` (B, K) and the optional ``hidden_positions`` (J,), empty unless given. Outputs, as far as the
    checkpoint has the heads: ``mlm_logits`` (B, K, V), ``nsp_logits`` (B, 2), ``pooler_output`` (B, H),
    ``hidden_states`` (B, J, H). With ``positions="all"`` they are ``logits`` (B, S, V), ``nsp_logits``,
    ``pooler_output`` and ``last_hidden_state`` (B, S, H); there the optional ``logits_end`` (1,) cuts ``logits`` to
    the positions before it, so 0 spares the MLM head.

    Args:
        roundings: how the weights of each int8 layer are rounded; they are when the graph is written.
    """
    return BertWriter(checkpoint, plan, positions, roundings).build()


class BertWriter:
    """Writes one graph; a method for each part of the paper's figure."""

    def __init__(
        self, checkpoint: Checkpoint, plan: Plan, positions: Positions, roundings: Roundings = nearest
    ) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.heads = checkpoint.heads
        self.plan = plan
        self.positions = positions
        self.roundings = roundings
        self.g = GraphBuilder()
        self.graph = BertGraph(self.g, positions)

    def build(self) -> BertGraph:
        """Write the whole graph."""
        self._declare_inputs()
        x = self._embeddings()
        mask = self._mask()
        for index in range(self.config.num_hidden_layers - 1):
            x = self._block(index, x, x, mask)
        last = self.config.num_hidden_layers - 1
        if self.positions == "masked":
            x = self._block(last, x, self._read_rows(x), mask)
            self._read_heads(x)
        else:
            x = self._block(last, x, x, mask)
            self._all_heads(x)
        return self.graph

    def _mask(self) -> str:
        """The mask in the type that the attention operators take."""
        return self.g.op("Cast", ["attention_mask"], "attention.mask", to=TensorProto.INT32)

    def _declare_inputs(self) -> None:
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            self.g.input(name, np.int64, ("batch", "sequence"))
        if self.positions == "masked":
            self.g.input("masked_positions", np.int64, ("batch", "masked"))
            self.g.input("hidden_positions", np.int64, ("hidden",))
            self.g.constant("hidden_positions", [], np.int64)  # the default: an input that may be left out
        elif "mlm" in self.heads:
            self.g.input("logits_end", np.int64, (1,))
            self.g.constant("logits_end", [EVERYWHERE], np.int64)

    # -- embeddings ---------------------------------------------------------------------------------------------

    def _embeddings(self) -> str:
        """Word + position + segment, layer norm: (B, S) -> (B, S, H)."""
        g = self.g
        word = self._word_rows()
        length = g.op("Shape", ["input_ids"], "embeddings.length", start=1, end=2)
        zero = g.constant("embeddings.zero", [0], np.int64)
        position = g.op("Slice", [self._position_rows(), zero, length], "embeddings.position")
        segment_table = self._float("embeddings.token_type.table", names.TOKEN_TYPE_EMBEDDINGS)
        segment = g.op("Gather", [segment_table, "token_type_ids"], "embeddings.token_type")
        summed = g.op("Add", [g.op("Add", [segment, position], "embeddings.place"), word], "embeddings.sum")
        return self._layer_norm("embeddings.norm", names.EMBEDDINGS, summed)

    def _word_rows(self) -> str:
        """The words' rows, (B, S, H)."""
        rows = look_up(self.g, "embeddings.word", self._word_table(), "input_ids")
        if not self._shared_divisors:
            return rows
        reciprocals = self.g.constant("embeddings.word.reciprocals", 1 / np.asarray(self._shared_divisors), np.float32)
        return self.g.op("Mul", [rows, reciprocals], "embeddings.word.undivided")

    @property
    def _decoder_divisors(self) -> tuple[float, ...]:
        """What the MLM head's layer norm divides its channels by, for the decoder's sake."""
        form = self._format(layers.MLM_DECODER)
        return form.input_divisors if isinstance(form, StaticInt8) else ()

    @property
    def _shared_divisors(self) -> tuple[float, ...]:
        """The same, if the decoder's matrix, which is multiplied by them, is the words' table too."""
        return () if "decoder" in self.heads or "mlm" not in self.heads else self._decoder_divisors

    def _word_table(self) -> Table:
        """(V, H). A table that the decoder shares has the decoder's format, for it is stored once."""
        tied = "mlm" in self.heads and "decoder" not in self.heads
        layer = layers.MLM_DECODER if tied else layers.WORD_TABLE
        form = self._format(layers.WORD_TABLE)
        exact = form.exact if isinstance(form, Int8Rows) else ()
        return self._table("embeddings.word", names.WORD_EMBEDDINGS, layer, self._shared_divisors, exact)

    def _position_rows(self) -> str:
        """(max_position_embeddings, H) as float; int8 on disk only, since the runtime converts it when it loads."""
        rows = self._table("embeddings.position", names.POSITION_EMBEDDINGS, layers.POSITION_TABLE)
        if rows.scale is None:
            return rows.values
        widened = self.g.op("Cast", [rows.values], "embeddings.position.float", to=TensorProto.FLOAT)
        return self.g.op("Mul", [widened, rows.scale], "embeddings.position.scaled")

    def _table(
        self, name: str, tensor: str, layer: str, factors: tuple[float, ...] = (), exact: tuple[int, ...] = ()
    ) -> Table:
        """A table in the format of a layer, its columns multiplied by factors if there are any."""
        rounding, scaled = self.roundings(layer), np.asarray(factors or 1, dtype=np.float32)
        if factors:
            rounding = rounding.scaled(scaled)
        shape = self.checkpoint.source.shapes[tensor]

        def load() -> NDArray[np.float32]:
            values = self._tensor(tensor)
            return values * scaled if factors else values

        return table(self.g, name, self._format(layer), (shape[0], shape[1]), load, rounding, exact)

    # -- encoder ------------------------------------------------------------------------------------------------

    def _block(self, index: int, x: str, read: str, mask: str) -> str:
        """One encoder block: attend from ``read`` (B, R, H) to x (B, S, H); -> (B, R, H)."""
        block, owner = BlockNames.of(index), names.layer(index)
        if read != x:
            self.graph.at_read_rows |= {block.qkv, block.attention_output, block.intermediate, block.output}
        context = self._attention(index, x, read, mask)
        attended = self._linear(block.attention_output, context, f"{owner}.attention.output.dense")
        x = self._add_norm(f"{block.attention_output}.norm", f"{owner}.attention.output", attended, read)
        inner = self._linear(block.intermediate, x, f"{owner}.intermediate.dense")
        inner = self._activation(f"{block.intermediate}.activation", inner)
        outer = self._linear(block.output, inner, f"{owner}.output.dense")
        return self._add_norm(f"{block.output}.norm", f"{owner}.output", outer, x)

    def _attention(self, index: int, x: str, read: str, mask: str) -> str:
        """Query, key and value, then softmax(q k^T / sqrt(head_size)) v for each head (Vaswani et al. 2017, eq. 1)."""
        g, name = self.g, BlockNames.of(index).qkv
        parts = [f"{names.layer(index)}.attention.self.{part}" for part in ("query", "key", "value")]
        joined = self._weights(name, *parts)
        form = self._noted(name, x, joined)
        heads = self.config.num_attention_heads
        if read == x and isinstance(form, Int8) and has_int8_attention(form):
            return int8_attention(form, g, name, x, joined, mask, heads)
        if read == x:
            query, key, value = self._split(linear(form, g, name, x, joined), 3)
        else:
            query = linear(form, g, f"{name}.query", read, self._weights(name, parts[0]))
            key, value = self._split(linear(form, g, f"{name}.key_value", x, self._weights(name, *parts[1:])), 2)
        inputs = [query, key, value, "", mask]
        return g.op("MultiHeadAttention", inputs, f"{name}.context", domain=MICROSOFT, num_heads=heads)

    def _split(self, joined: str, parts: int) -> list[str]:
        lengths = self.g.constant(f"split.{parts}", [self.config.hidden_size] * parts, np.int64)
        return self.g.op("Split", [joined, lengths], f"{joined}.split", outputs=parts, axis=-1)

    # -- what is read -------------------------------------------------------------------------------------------

    def _read_rows(self, x: str) -> str:
        """(B, S, H) -> (B, 1 + K + J, H): ``[CLS]``, the masked positions, the hidden positions."""
        g = self.g
        zero, one, last = (g.constant(f"read.{n}", [v], np.int64) for n, v in (("zero", 0), ("one", 1), ("last", -1)))
        batch = g.op("Shape", ["input_ids"], "read.batch", start=0, end=1)
        column = g.op("Concat", [batch, one], "read.column", axis=0)  # (B, 1)
        first = g.op("Expand", [zero, column], "read.cls")
        hidden = g.op("Expand", ["hidden_positions", column], "read.hidden")
        positions = g.op("Concat", [first, "masked_positions", hidden], "read.positions", axis=1)
        return g.op("GatherND", [x, g.op("Unsqueeze", [positions, last], "read.index")], "read.rows", batch_dims=1)

    def _read_heads(self, x: str) -> None:
        """The heads on the rows that were read, (B, 1 + K + J, H)."""
        g, config = self.g, self.config
        masked = g.op("Shape", ["masked_positions"], "read.masked_count", start=1, end=2)
        one = g.constant("read.one", [1], np.int64)
        hidden = g.op("Shape", ["hidden_positions"], "read.hidden_count", start=0, end=1)
        counts = g.op("Concat", [one, masked, hidden], "read.counts", axis=0)
        first, for_mlm, for_hidden = g.op("Split", [x, counts], "read.split", outputs=3, axis=1)
        g.output(for_hidden, "hidden_states", np.float32, ("batch", "hidden", config.hidden_size))
        if "mlm" in self.heads:
            g.output(self._mlm(for_mlm), "mlm_logits", np.float32, ("batch", "masked", config.vocab_size))
        self._pooled_heads(g.op("Squeeze", [first, one], "pooler.cls"))

    def _all_heads(self, x: str) -> None:
        """The heads at every position, (B, S, H), under the names that Optimum and its pipelines use."""
        g, config = self.g, self.config
        if "mlm" in self.heads:
            # onnxruntime computes outputs that nobody asks for too; a head on no rows costs nothing
            zero = g.constant("mlm.start", [0], np.int64)
            rows = g.op("Slice", [x, zero, "logits_end", g.constant("mlm.axis", [1], np.int64)], "mlm.rows")
            # the dimension is called as where nothing is cut: Optimum looks its length up among the inputs'
            g.output(self._mlm(rows), "logits", np.float32, ("batch", "sequence", config.vocab_size))
        g.output(x, "last_hidden_state", np.float32, ("batch", "sequence", config.hidden_size))
        self._pooled_heads(g.op("Gather", [x, g.constant("pooler.zero", 0, np.int64)], "pooler.cls", axis=1))

    def _mlm(self, x: str) -> str:
        """The MLM head: (B, K, H) -> (B, K, V)."""
        inner = self._linear(layers.MLM_TRANSFORM, x, f"{names.MLM_TRANSFORM}.dense")
        inner = self._activation(f"{layers.MLM_TRANSFORM}.activation", inner)
        divisors = self._decoder_divisors
        inner = self._layer_norm(f"{layers.MLM_TRANSFORM}.norm", names.MLM_TRANSFORM, inner, divisors)
        weights = self._decoder_weights()
        form = self._noted(layers.MLM_DECODER, inner, weights)
        if divisors and isinstance(form, StaticInt8):  # the layer norm has divided, the matrix is multiplied
            form = replace(form, input_divisors=())
        return linear(form, self.g, layers.MLM_DECODER, inner, weights)

    def _pooled_heads(self, first: str) -> None:
        """The pooler and the next-sentence head on ``[CLS]``: (B, H) -> (B, H), (B, 2)."""
        if "pooler" not in self.heads:
            return
        g = self.g
        pooled = g.op("Tanh", [self._linear(layers.POOLER, first, names.POOLER)], "pooler.tanh")
        g.output(pooled, "pooler_output", np.float32, ("batch", self.config.hidden_size))
        if "nsp" in self.heads:
            g.output(self._linear(layers.NSP, pooled, names.NSP), "nsp_logits", np.float32, ("batch", 2))

    # -- pieces -------------------------------------------------------------------------------------------------

    def _tensor(self, name: str) -> NDArray[np.float32]:
        """Load one tensor of the checkpoint.

        Raises:
            CheckpointError: it is not finite, and nothing that is computed from it would be.
        """
        values = self.checkpoint.tensor(name)
        if not np.isfinite([values.min(initial=0.0), values.max(initial=0.0)]).all():
            raise CheckpointError(
                f"{self.checkpoint.name}: {name} holds NaN or infinity", "train again, or take an earlier checkpoint"
            )
        return values

    def _format(self, layer: str) -> NumberFormat:
        return self.plan.get(layer, Float32())

    def _float(self, name: str, tensor: str, divisors: tuple[float, ...] = ()) -> str:
        divisor = np.asarray(divisors or 1, dtype=np.float32)
        return self.g.tensor(
            name, np.float32, self.checkpoint.source.shapes[tensor], lambda: self._tensor(tensor) / divisor
        )

    def _linear(self, layer: str, x: str, owner: str) -> str:
        """A linear layer with the weights of one owner, in the format that the plan gives it."""
        weights = self._weights(layer, owner)
        return linear(self._noted(layer, x, weights), self.g, layer, x, weights)

    def _noted(self, layer: str, x: str, weights: Weights) -> NumberFormat:
        """Note what a layer reads and its shape, for calibration and coverage; returns its format."""
        self.graph.linear_inputs[layer] = x
        self.graph.linear_shapes[layer] = weights.shape
        return self._format(layer)

    def _weights(self, layer: str, *owners: str) -> OwnWeights:
        """The weights of a layer; several owners that read the same input are one."""
        shapes = [self.checkpoint.source.shapes[f"{owner}.weight"] for owner in owners]

        def load(part: str) -> NDArray[np.float32]:
            return np.concatenate([self._tensor(f"{owner}.{part}") for owner in owners])

        shape = (sum(shape[0] for shape in shapes), shapes[0][1])
        rounding = self.roundings(layer)
        return OwnWeights(shape=shape, load=lambda: load("weight"), load_bias=lambda: load("bias"), rounding=rounding)

    def _decoder_weights(self) -> Weights:
        """The MLM head's decoder: the words' table, or a matrix of its own."""

        def load_bias() -> NDArray[np.float32]:
            return self._tensor(names.DECODER_BIAS)

        if "decoder" not in self.heads:
            return TableWeights(table=self._word_table(), load_bias=load_bias)
        shape = (self.config.vocab_size, self.config.hidden_size)
        load, rounding = (lambda: self._tensor(names.DECODER)), self.roundings(layers.MLM_DECODER)
        weights = OwnWeights(shape=shape, load=load, load_bias=load_bias, rounding=rounding)
        divisors = np.asarray(self._decoder_divisors, dtype=np.float32)
        return weights.with_columns_scaled(divisors) if len(divisors) else weights

    def _activation(self, name: str, x: str) -> str:
        if self.config.activation == "relu":
            return self.g.op("Relu", [x], name)
        op_type = "Gelu" if self.config.activation == "gelu" else "FastGelu"
        return self.g.op(op_type, [x], name, domain=MICROSOFT)

    def _layer_norm(self, name: str, owner: str, x: str, divisors: tuple[float, ...] = ()) -> str:
        """Layer norm; its channels divided by the divisors, which its own weights can do."""
        weight = self._float(f"{name}.weight", f"{owner}.LayerNorm.weight", divisors)
        bias = self._float(f"{name}.bias", f"{owner}.LayerNorm.bias", divisors)
        return self.g.op("LayerNormalization", [x, weight, bias], name, epsilon=self.config.layer_norm_eps, axis=-1)

    def _add_norm(self, name: str, owner: str, x: str, skip: str) -> str:
        """Skip connection and layer norm."""
        return self._layer_norm(name, owner, self.g.op("Add", [x, skip], f"{name}.sum"))
