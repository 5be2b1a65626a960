"""An encoder as an ONNX graph, from a checkpoint and a plan (Devlin et al. 2019; Vaswani et al. 2017, section 3).

Shapes: B rows, S positions, H hidden size, V tokens, K masked positions of a row, J further positions to read.
One graph serves every use. Its last block computes only the positions that are read (the first one for the pooler, K
for the MLM head, J for hidden states), so outputs that are not requested cost nothing. The graph for other tools
computes every position; a call can skip its MLM head.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import names
from bertedge.graph.attention import AttentionWriter
from bertedge.graph.formats import Plan
from bertedge.graph.heads import all_heads, mean_row, read_heads, read_positions, read_rows
from bertedge.graph.rounding import Roundings
from bertedge.graph.tables import look_up
from bertedge.graph.writer import EncoderGraph, Positions, nearest
from bertedge.layers import Block, block_layers, embedding_projection, position_table, token_type_table

#: The tensor of the embeddings' layer norm.
FIRST_NORM = "embeddings.norm.weight"
#: End of a ``Slice`` that keeps everything up to the end of the text.
END_OF_TEXT = 2**62


def build_graph(
    checkpoint: Checkpoint, plan: Plan, *, positions: Positions = "masked", roundings: Roundings = nearest
) -> EncoderGraph:
    """Build the graph of a checkpoint.

    Inputs are ``input_ids``, ``attention_mask``, ``token_type_ids`` (B, S) int64 and, with ``positions="masked"``,
    ``masked_positions`` (B, K) and the optional ``hidden_positions`` (J,), empty unless given. Outputs, as far as the
    checkpoint has the heads: ``mlm_logits`` (B, K, V), ``nsp_logits`` (B, 2), ``pooler_output`` (B, H),
    ``hidden_states`` (B, J, H). With ``positions="all"`` they are ``logits`` (B, S, V), ``nsp_logits``,
    ``pooler_output`` and ``last_hidden_state`` (B, S, H); there the optional ``logits_end`` (1,) cuts ``logits`` to
    the positions before it, so 0 skips the MLM head.

    Args:
        roundings: how the weights of each int8 layer are rounded when the graph is written.
    """
    return EncoderWriter(checkpoint, plan, positions, roundings).build()


class EncoderWriter(AttentionWriter):
    """Writes one graph: embeddings, encoder blocks and heads, with a method for each part."""

    def build(self) -> EncoderGraph:
        """Write the whole graph."""
        self._declare_inputs()
        x = self._embeddings()
        last = self.config.num_hidden_layers - 1
        for index in range(last):
            x = self._block(index, x)
        everywhere = self.positions == "all" or self.parts.reads_mean
        x = self._block(last, x, "" if everywhere else read_positions(self))
        if self.config.norm == "pre":
            x = self.layer_norm("encoder.norm", names.ENCODER, x)
        mean = mean_row(self, x) if self.parts.reads_mean else ""
        if self.positions == "all":
            all_heads(self, x, mean)
        else:
            read_heads(self, read_rows(self, x, read_positions(self)) if everywhere else x, mean)
        return self.graph

    def _declare_inputs(self) -> None:
        for name in self.config.text_inputs:
            self.g.input(name, np.int64, ("batch", "sequence"))
        if self.positions == "masked":
            self.g.input("masked_positions", np.int64, ("batch", "masked"))
            self.g.input("hidden_positions", np.int64, ("hidden",))
            self.g.constant("hidden_positions", [], np.int64)  # a default, so that calls may omit this input
        elif self.parts.reads_masked:
            self.g.input("logits_end", np.int64, (1,))
            self.g.constant("logits_end", [END_OF_TEXT], np.int64)

    # -- embeddings ---------------------------------------------------------------------------------------------

    def _embeddings(self) -> str:
        """Word + position + token type, as far as the family has them, layer norm, projection: (B, S) -> (B, S, H)."""
        g, summed = self.g, self._word_rows()
        place = self._position_rows() if self.config.positions == "absolute" else ""
        if self.config.type_vocab_size:
            types = self.table(token_type_table(self.config))
            segment = g.op("Gather", [types.values, "token_type_ids"], "embeddings.token_type")
            place = g.op("Add", [segment, place], "embeddings.place") if place else segment
        if place:
            summed = g.op("Add", [place, summed], "embeddings.sum")
        x = self.layer_norm("embeddings.norm", names.EMBEDDINGS, summed)
        return self.linear(embedding_projection(self.config).name, x) if self.config.embedding_projection else x

    def _word_rows(self) -> str:
        """The rows of the words, (B, S, H)."""
        rows = look_up(self.g, "embeddings.word", self.word_table(), "input_ids")
        if not self.shared_divisors:
            return rows
        return self.g.op("Mul", [rows, self.word_reciprocals()], "embeddings.word.undivided")

    def _position_rows(self) -> str:
        """The rows of the positions of a text, (S, H)."""
        g, offset = self.g, self.config.position_offset
        end = g.op("Shape", ["input_ids"], "embeddings.length", start=1, end=2)
        start = g.constant("embeddings.zero", [offset], np.int64)
        if offset:
            end = g.op("Add", [end, start], "embeddings.end")
        return g.op("Slice", [self._position_table(), start, end], "embeddings.position")

    def _position_table(self) -> str:
        """(max_position_embeddings, H) as float; onnxruntime converts an int8 table when it loads the model."""
        rows = self.table(position_table(self.config))
        if rows.scale is None:
            return rows.values
        floats = self.g.op("Cast", [rows.values], "embeddings.position.float", to=TensorProto.FLOAT)
        return self.g.op("Mul", [floats, rows.scale], "embeddings.position.scaled")

    # -- encoder ------------------------------------------------------------------------------------------------

    def _block(self, index: int, x: str, positions: str = "") -> str:
        """One encoder block, (B, S, H) -> (B, S, H); or (B, R, H) with only the rows at positions (B, R)."""
        if positions:
            self.graph.at_read_rows |= {layer.name for layer in block_layers(self.config, index).layers}
        return (self._post_norm if self.config.norm == "post" else self._pre_norm)(index, x, positions)

    def _post_norm(self, index: int, x: str, positions: str) -> str:
        """norm(attention(x) + x), then norm(feed_forward(x) + x)."""
        block = block_layers(self.config, index)
        first, second = names.block_norms(self.config, self.config.stored_block(index))
        read = read_rows(self, x, positions) if positions else x
        attended = self.linear(block.attention_output.name, self.attention(index, x, read, positions))
        x = self.add_norm(block.attention_output, first, attended, read)
        return self.add_norm(block.output, second, self._feed_forward(block, x), x)

    def _pre_norm(self, index: int, x: str, positions: str) -> str:
        """attention(norm(x)) + x, then feed_forward(norm(x)) + x; the first block's attention has no norm."""
        block = block_layers(self.config, index)
        first, second = names.block_norms(self.config, self.config.stored_block(index))
        keys = self.layer_norm(f"{block.qkv.name}.norm", first, x) if first else x
        read = read_rows(self, x, positions) if positions else x
        queries = read_rows(self, keys, positions, "read.queries") if positions else keys
        attended = self.linear(block.attention_output.name, self.attention(index, keys, queries, positions))
        x = self.g.op("Add", [attended, read], f"{block.attention_output.name}.sum")
        inner = self.layer_norm(f"{block.intermediate.name}.norm", second, x)
        return self.g.op("Add", [self._feed_forward(block, inner), x], f"{block.output.name}.sum")

    def _feed_forward(self, block: Block, x: str) -> str:
        """(..., H) -> (..., H), without the sum with x."""
        name = block.intermediate.name
        inner = self.linear(name, x)
        if not self.config.gated:
            return self.linear(block.output.name, self.activation(f"{name}.activation", inner, self.config.activation))
        values, gate = self.g.op("Split", [inner], f"{name}.split", outputs=2, axis=-1)
        activated = self.activation(f"{name}.activation", values, self.config.activation)
        return self.linear(block.output.name, self.g.op("Mul", [activated, gate], f"{name}.gated"))
