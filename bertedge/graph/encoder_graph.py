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
from bertedge.graph.heads import all_heads, read_heads, read_positions, read_rows
from bertedge.graph.rounding import Roundings
from bertedge.graph.tables import look_up
from bertedge.graph.writer import EncoderGraph, Positions, nearest
from bertedge.layers import block_layers, embedding_projection, position_table, token_type_table

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
        if self.positions == "masked":
            x = self._block(last, x, read_positions(self))
            read_heads(self, x)
        else:
            x = self._block(last, x)
            all_heads(self, x)
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
        g, offset = self.g, self.config.position_offset
        word = self._word_rows()
        end = g.op("Shape", ["input_ids"], "embeddings.length", start=1, end=2)
        start = g.constant("embeddings.zero", [offset], np.int64)
        if offset:
            end = g.op("Add", [end, start], "embeddings.end")
        place = g.op("Slice", [self._position_rows(), start, end], "embeddings.position")
        if self.config.type_vocab_size:
            types = self.table(token_type_table(self.config))
            segment = g.op("Gather", [types.values, "token_type_ids"], "embeddings.token_type")
            place = g.op("Add", [segment, place], "embeddings.place")
        x = self.layer_norm("embeddings.norm", names.EMBEDDINGS, g.op("Add", [place, word], "embeddings.sum"))
        return self.linear(embedding_projection(self.config).name, x) if self.config.embedding_projection else x

    def _word_rows(self) -> str:
        """The rows of the words, (B, S, H)."""
        rows = look_up(self.g, "embeddings.word", self.word_table(), "input_ids")
        if not self.shared_divisors:
            return rows
        return self.g.op("Mul", [rows, self.word_reciprocals()], "embeddings.word.undivided")

    def _position_rows(self) -> str:
        """(max_position_embeddings, H) as float; onnxruntime converts an int8 table when it loads the model."""
        rows = self.table(position_table(self.config))
        if rows.scale is None:
            return rows.values
        floats = self.g.op("Cast", [rows.values], "embeddings.position.float", to=TensorProto.FLOAT)
        return self.g.op("Mul", [floats, rows.scale], "embeddings.position.scaled")

    # -- encoder ------------------------------------------------------------------------------------------------

    def _block(self, index: int, x: str, positions: str = "") -> str:
        """One encoder block, (B, S, H) -> (B, S, H); or (B, R, H) with only the rows at positions (B, R)."""
        block, owner = block_layers(self.config, index), names.layer(self.config.stored_block(index))
        read = read_rows(self, x, positions) if positions else x
        if positions:
            self.graph.at_read_rows |= {layer.name for layer in block.layers}
        context = self.attention(block.qkv, x, read, positions)
        attended = self.linear(block.attention_output.name, context)
        x = self.add_norm(block.attention_output, f"{owner}.attention.output", attended, read)
        inner = self.linear(block.intermediate.name, x)
        inner = self.activation(f"{block.intermediate.name}.activation", inner, self.config.activation)
        outer = self.linear(block.output.name, inner)
        return self.add_norm(block.output, f"{owner}.output", outer, x)
