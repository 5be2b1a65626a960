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
from bertedge.graph.formats import Int8, NumberFormat
from bertedge.graph.heads import read_rows
from bertedge.graph.linear import has_int8_attention, int8_attention
from bertedge.graph.writer import LayerWriter
from bertedge.layers import Layer, block_layers

#: Positions that are this far apart, or farther, share a bucket of relative positions.
FARTHEST = 128
#: Added to the scores of positions that a row does not attend to. onnxruntime adds the same to masked ones.
OUTSIDE = -10000.0


class AttentionWriter(LayerWriter):
    """Writes attention into a graph."""

    def attention(self, index: int, x: str, read: str, positions: str) -> str:
        """softmax(q k^T / sqrt(head_size) + bias) v for each head (Vaswani et al. 2017, equation 1).

        Args:
            index: the encoder block.
            x: (B, S, H), for keys and values.
            read: (B, R, H), for queries: x itself, or its rows at ``positions``.
            positions: (B, R); empty if ``read`` is ``x``.

        Returns:
            (B, R, H).
        """
        layer, heads = block_layers(self.config, index).qkv, self.config.num_attention_heads
        if positions and layer.shares:  # the weights of queries are stored together with the others
            return read_rows(self, self.attention(index, x, x, ""), positions, f"{layer.name}.context.rows")
        form, bias = self.record_format(layer, x), self._bias(index, positions)
        rotary = self.config.positions == "rotary"
        if not (positions or bias or rotary) and isinstance(form, Int8) and self._has_one_operator(form):
            joined = self.weights(layer)
            context = int8_attention(form, self.g, layer.name, x, joined, self._mask(), heads)
            self.record_matrix(layer, layer.name, x, joined)
            return context
        query, key, value = self._projections(layer, form, x, read)
        if rotary:
            query = self._rotated(index, f"{layer.name}.query.rotated", query, positions)
            key = self._rotated(index, f"{layer.name}.key.rotated", key, "")
        inputs = [query, key, value, "", self._mask(), *([bias] if bias else [])]
        return self.g.op("MultiHeadAttention", inputs, f"{layer.name}.context", domain=MICROSOFT, num_heads=heads)

    def _has_one_operator(self, form: Int8) -> bool:
        """Whether one operator computes attention in this format, without biases and from every position."""
        return has_int8_attention(form)

    def _projections(self, layer: Layer, form: NumberFormat, x: str, read: str) -> list[str]:
        """Query (B, R, H), key and value (B, S, H)."""
        if read == x:
            return self._split(self.multiply(layer, form, layer.name, x, self.weights(layer)), 3)
        first, others = self.weights(layer, layer.owners[:1]), self.weights(layer, layer.owners[1:])
        query = self.multiply(layer, form, f"{layer.name}.query", read, first)
        return [query, *self._split(self.multiply(layer, form, f"{layer.name}.key_value", x, others), 2)]

    def _split(self, joined: str, parts: int) -> list[str]:
        lengths = self.g.constant(f"split.{parts}", [self.config.hidden_size] * parts, np.int64)
        return self.g.op("Split", [joined, lengths], f"{joined}.split", outputs=parts, axis=-1)

    def _mask(self) -> str:
        """The mask in the type that the attention operators take."""
        return self.g.once("Cast", ["attention_mask"], "attention.mask", to=TensorProto.INT32)

    # -- positions ----------------------------------------------------------------------------------------------

    def _bias(self, index: int, positions: str) -> str:
        """The numbers that are added to a block's scores, (1 or B, 1 or N, R, S); empty if there are none."""
        if self.config.is_local(index):
            name = "read.window" if positions else "attention.window"
            return name if self.g.has(name) else self._window(name, positions or self._every_position)
        if self.config.relative_buckets:
            return self._read_bias(positions) if positions else self._relative_bias
        return ""

    def _window(self, name: str, positions: str) -> str:
        """Zero for positions inside the window of a local block, :data:`OUTSIDE` for others."""
        g = self.g
        reach = g.constant("window.reach", self.config.local_attention // 2, np.int64)
        inside, outside = g.constant("window.inside", 0, np.float32), g.constant("window.outside", OUTSIDE, np.float32)
        away = g.op("Abs", [self._distances(name, positions)], f"{name}.away")
        far = g.op("Greater", [away, reach], f"{name}.far")
        chosen = g.op("Where", [far, outside, inside], f"{name}.chosen")
        return g.op("Unsqueeze", [chosen, g.constant("window.axis", [1], np.int64)], name)

    @cached_property
    def _relative_bias(self) -> str:
        """The numbers of :func:`relative_bias` for every pair of positions, (1, N, S, S).

        A row of the result is that above it, moved by one. So the numbers of a head, in a circle of 2 S, are repeated,
        and cut into rows of 2 S - 1. It copies whole rows, which takes a sixth of the time of a look-up for each pair.
        """
        g, heads, reach = self.g, self.config.num_attention_heads, self.config.max_length
        table = g.tensor(
            "encoder.relative_bias",
            np.float32,
            (heads, 2 * reach + 1),
            lambda: relative_bias(self.checkpoint.tensor(names.RELATIVE_BIAS), reach),
        )
        self.graph.relative_bias = table
        constants = {"zero": 0, "one": 1, "two": 2, "rest": -1, "heads": heads, "middle": reach}
        zero, one, two, rest, count, middle = (
            g.constant(f"relative.{word}", [value], np.int64) for word, value in constants.items()
        )
        length = g.op("Shape", ["input_ids"], "relative.length", start=1, end=2)
        end, start = g.op("Add", [middle, length], "relative.end"), g.op("Sub", [middle, length], "relative.start")
        behind = g.op("Slice", [table, middle, end, one], "relative.behind")
        before = g.op("Slice", [table, start, middle, one], "relative.before")
        circle = g.op("Concat", [behind, before], "relative.circle", axis=1)
        repeated = g.op("Tile", [circle, g.op("Concat", [one, length], "relative.times", axis=0)], "relative.repeated")
        cut = g.op("Slice", [repeated, zero, g.op("Neg", [length], "relative.last"), one], "relative.cut")
        shape = g.op("Concat", [count, length, rest], "relative.shape", axis=0)
        rows = g.op("Slice", [g.op("Reshape", [cut, shape], "relative.moved"), zero, length, two], "relative.rows")
        return g.op("Unsqueeze", [rows, zero], "attention.relative")

    def _read_bias(self, positions: str) -> str:
        """The rows of the relative bias at positions (B, R), (B, N, R, S)."""
        g = self.g
        found = g.op("Gather", [self._relative_bias, positions], "read.relative.rows", axis=2)
        by_head = g.op("Squeeze", [found, g.constant("relative.zero", [0], np.int64)], "read.relative.by_head")
        return g.op("Transpose", [by_head], "read.relative", perm=[1, 0, 2, 3])

    def _distances(self, name: str, positions: str) -> str:
        """The position of each key minus that of the row that reads it, (1 or B, R, S)."""
        g = self.g
        key_axis, row_axis = (
            g.constant(f"distance.{word}", [axis], np.int64) for word, axis in (("key", 1), ("row", 2))
        )
        keys = g.once("Unsqueeze", [self._every_position, key_axis], "distance.keys")
        return g.op("Sub", [keys, g.op("Unsqueeze", [positions, row_axis], f"{name}.rows")], f"{name}.distances")

    def _rotated(self, index: int, name: str, x: str, positions: str) -> str:
        """Queries or keys (B, R, H), each head rotated by the angles of its position (Su et al. 2021, equation 34).

        Args:
            positions: (B, R); empty for all positions in their order.
        """
        g, config = self.g, self.config
        local, shape = config.is_local(index), (config.max_length, config.head_size // 2)
        kind, theta = ("local", config.local_rope_theta) if local else ("global", config.rope_theta)
        cos = g.tensor(f"encoder.rotary.{kind}.cos", np.float32, shape, lambda: np.cos(angles(*shape, theta)))
        sin = g.tensor(f"encoder.rotary.{kind}.sin", np.float32, shape, lambda: np.sin(angles(*shape, theta)))
        if not positions:
            first = g.constant("rotary.first", [0], np.int64)
            return g.op("RotaryEmbedding", [x, first, cos, sin], name, domain=MICROSOFT)
        # onnxruntime takes no more rows of a text than the tables have, but a row may be read more than once
        alone = [
            g.op("Reshape", [value, g.constant(f"rotary.{word}", shape, np.int64)], f"{name}.{word}")
            for value, word, shape in ((x, "rows", [-1, 1, config.hidden_size]), (positions, "places", [-1, 1]))
        ]
        rotated = g.op("RotaryEmbedding", [*alone, cos, sin], f"{name}.alone", domain=MICROSOFT)
        return g.op("Reshape", [rotated, g.op("Shape", [x], f"{name}.shape")], name)

    @cached_property
    def _every_position(self) -> str:
        """0, 1, ... to the end of the texts, (1, S)."""
        g = self.g
        zero, one = (g.constant(f"position.{word}", value, np.int64) for word, value in (("zero", 0), ("one", 1)))
        first_axis = g.constant("position.axis", [0], np.int64)
        length = g.op("Squeeze", [g.op("Shape", ["input_ids"], "position.shape", start=1, end=2)], "position.length")
        return g.op("Unsqueeze", [g.op("Range", [zero, length, one], "position.range"), first_axis], "position.every")


def angles(length: int, pairs: int, theta: float) -> NDArray[np.float64]:
    """The angle by which each pair of channels is rotated at each position, (length, pairs)."""
    return np.arange(length)[:, None] * theta ** (-np.arange(pairs) / pairs)


def relative_bias(table: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """The number of each head for the distances -reach to reach: (buckets, N) -> (N, 2 reach + 1)."""
    return table[relative_bucket(np.arange(-reach, reach + 1), len(table))].T


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
