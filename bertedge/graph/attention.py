"""Attention of one encoder block: query, key and value, and the positions that the scores depend on.

Shapes as in :mod:`bertedge.graph.encoder_graph`; besides, R rows that attend to all S positions, N attention heads.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from bertedge.encoders import names
from bertedge.graph.builder import MICROSOFT
from bertedge.graph.formats import Int8
from bertedge.graph.heads import read_rows
from bertedge.graph.linear import has_int8_attention, int8_attention
from bertedge.graph.writer import LayerWriter
from bertedge.layers import Layer

#: Positions that are this far apart, or farther, share a bucket of relative positions.
FARTHEST = 128


class AttentionWriter(LayerWriter):
    """Writes attention into a graph."""

    def attention(self, layer: Layer, x: str, read: str, positions: str) -> str:
        """softmax(q k^T / sqrt(head_size) + bias) v for each head (Vaswani et al. 2017, equation 1).

        Args:
            x: (B, S, H), for keys and values.
            read: (B, R, H), for queries: x itself, or its rows at ``positions``.
            positions: (B, R); empty if ``read`` is ``x``.

        Returns:
            (B, R, H).
        """
        g, name = self.g, layer.name
        if positions and layer.shares:  # the weights of queries are stored together with the others
            return read_rows(self, self.attention(layer, x, x, ""), positions, f"{name}.context.rows")
        joined = self.weights(layer)
        form, bias = self.record_format(layer, x), self._bias(positions)
        heads = self.config.num_attention_heads
        if not (positions or bias) and isinstance(form, Int8) and has_int8_attention(form):
            context = int8_attention(form, g, name, x, joined, self._mask(), heads)
            self.record_matrix(layer, name, x, joined)
            return context
        if not positions:
            query, key, value = self._split(self.multiply(layer, form, name, x, joined), 3)
        else:
            first, others = self.weights(layer, layer.owners[:1]), self.weights(layer, layer.owners[1:])
            query = self.multiply(layer, form, f"{name}.query", read, first)
            key, value = self._split(self.multiply(layer, form, f"{name}.key_value", x, others), 2)
        inputs = [query, key, value, "", self._mask(), *([bias] if bias else [])]
        return g.op("MultiHeadAttention", inputs, f"{name}.context", domain=MICROSOFT, num_heads=heads)

    def _split(self, joined: str, parts: int) -> list[str]:
        lengths = self.g.constant(f"split.{parts}", [self.config.hidden_size] * parts, np.int64)
        return self.g.op("Split", [joined, lengths], f"{joined}.split", outputs=parts, axis=-1)

    def _mask(self) -> str:
        """The mask in the type that the attention operators take."""
        return self.g.once("Cast", ["attention_mask"], "attention.mask", to=TensorProto.INT32)

    # -- positions ----------------------------------------------------------------------------------------------

    def _bias(self, positions: str) -> str:
        """The numbers that are added to the scores, (1 or B, N, R, S); empty if there are none."""
        if not self.config.relative_buckets:
            return ""
        return self._relative_bias("read.bias", positions) if positions else self._bias_everywhere

    @cached_property
    def _bias_everywhere(self) -> str:
        """The bias of the blocks that compute every position, which share it."""
        return self._relative_bias("attention.bias", self._every_position)

    def _relative_bias(self, name: str, positions: str) -> str:
        """The numbers of :func:`relative_bias`, looked up for each pair of row and position."""
        g, reach = self.g, FARTHEST
        shape = (self.config.num_attention_heads, 2 * reach + 1)
        table = g.tensor(
            "encoder.relative_bias",
            np.float32,
            shape,
            lambda: relative_bias(self.checkpoint.tensor(names.RELATIVE_BIAS)),
        )
        self.graph.relative_bias = table
        low, high = (g.constant(f"relative.{word}", end, np.int64) for word, end in (("low", -reach), ("high", reach)))
        near = g.op("Clip", [self._distances(name, positions), low, high], f"{name}.near")
        found = g.op("Gather", [table, g.op("Add", [near, high], f"{name}.index")], f"{name}.by_head", axis=1)
        return g.op("Transpose", [found], name, perm=[1, 0, 2, 3])

    def _distances(self, name: str, positions: str) -> str:
        """The position of each key minus that of the row that reads it, (1 or B, R, S)."""
        g = self.g
        key_axis, row_axis = (
            g.constant(f"distance.{word}", [axis], np.int64) for word, axis in (("key", 1), ("row", 2))
        )
        keys = g.once("Unsqueeze", [self._every_position, key_axis], "distance.keys")
        return g.op("Sub", [keys, g.op("Unsqueeze", [positions, row_axis], f"{name}.rows")], f"{name}.distances")

    @cached_property
    def _every_position(self) -> str:
        """0, 1, ... to the end of the texts, (1, S)."""
        g = self.g
        zero, one = (g.constant(f"position.{word}", value, np.int64) for word, value in (("zero", 0), ("one", 1)))
        first_axis = g.constant("position.axis", [0], np.int64)
        length = g.op("Squeeze", [g.op("Shape", ["input_ids"], "position.shape", start=1, end=2)], "position.length")
        return g.op("Unsqueeze", [g.op("Range", [zero, length, one], "position.range"), first_axis], "position.every")


def relative_bias(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """The number of each head for the distances -FARTHEST to FARTHEST: (buckets, N) -> (N, 2 FARTHEST + 1)."""
    return table[relative_bucket(np.arange(-FARTHEST, FARTHEST + 1), len(table))].T


def relative_bucket(distance: NDArray[np.integer], buckets: int) -> NDArray[np.int64]:
    """The bucket of a key's position minus a query's (Raffel et al. 2020, section 2.1).

    One half of the buckets is for keys in front of the query, the other for keys behind it. Near positions have a
    bucket each; farther ones share buckets, whose width grows with the logarithm of the distance.
    """
    half = buckets // 2
    exact = half // 2
    away = np.abs(distance)
    steps = np.log(np.maximum(away, 1).astype(np.float32) / exact) / np.log(np.float32(FARTHEST / exact))
    far = np.minimum(exact + (steps * (half - exact)).astype(np.int64), half - 1)
    return np.where(away < exact, away, far) + half * (distance > 0)
