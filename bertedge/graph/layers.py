"""The layers that every part of BERT is made of: a checkpoint's weights, in the formats of a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint import Checkpoint, names
from bertedge.graph.builder import MICROSOFT, GraphBuilder
from bertedge.graph.linear import OwnWeights, Weights, linear
from bertedge.graph.plan import MLM_DECODER, WORD_TABLE, BlockRows, Float32, Int8Rows, NumberFormat, Plan, StaticInt8
from bertedge.graph.rounding import NEAREST, Rounding, Roundings
from bertedge.graph.tables import Table, table

#: ``masked``: the MLM head at ``masked_positions`` only. ``all``: at every position, under the ecosystem's names.
Positions = Literal["masked", "all"]


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


class LayerWriter:
    """Writes single layers into a graph, and notes what each linear one reads.

    Attributes:
        heads: the heads that the checkpoint has.
        g: where nodes and tensors go.
        graph: the same with what was noted.
    """

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

    def linear(self, layer: str, x: str, owner: str) -> str:
        """A linear layer with the weights of one owner, in the format that the plan gives it."""
        weights = self.weights(layer, owner)
        return linear(self.noted(layer, x, weights), self.g, layer, x, weights)

    def noted(self, layer: str, x: str, weights: Weights) -> NumberFormat:
        """Note what a layer reads and its shape, for calibration and coverage; returns its format."""
        self.graph.linear_inputs[layer] = x
        self.graph.linear_shapes[layer] = weights.shape
        return self.format_of(layer)

    def format_of(self, layer: str) -> NumberFormat:
        """What the plan says of a layer."""
        return self.plan.get(layer, Float32())

    def weights(self, layer: str, *owners: str) -> OwnWeights:
        """The weights of a layer; several owners that read the same input are one."""
        shapes = [self.checkpoint.source.shapes[f"{owner}.weight"] for owner in owners]

        def load(part: str) -> NDArray[np.float32]:
            return np.concatenate([self.checkpoint.tensor(f"{owner}.{part}") for owner in owners])

        shape = (sum(shape[0] for shape in shapes), shapes[0][1])
        rounding = self.roundings(layer)
        return OwnWeights(shape=shape, load=lambda: load("weight"), load_bias=lambda: load("bias"), rounding=rounding)

    def activation(self, name: str, x: str) -> str:
        """The checkpoint's own activation function."""
        if self.config.activation == "relu":
            return self.g.op("Relu", [x], name)
        op_type = "Gelu" if self.config.activation == "gelu" else "FastGelu"
        return self.g.op(op_type, [x], name, domain=MICROSOFT)

    def layer_norm(self, name: str, owner: str, x: str, divisors: tuple[float, ...] = ()) -> str:
        """Layer norm; its channels divided by the divisors, which its own weights can do."""
        weight = self.float_tensor(f"{name}.weight", f"{owner}.LayerNorm.weight", divisors)
        bias = self.float_tensor(f"{name}.bias", f"{owner}.LayerNorm.bias", divisors)
        return self.g.op("LayerNormalization", [x, weight, bias], name, epsilon=self.config.layer_norm_eps, axis=-1)

    def add_norm(self, name: str, owner: str, x: str, skip: str) -> str:
        """Skip connection and layer norm."""
        return self.layer_norm(name, owner, self.g.op("Add", [x, skip], f"{name}.sum"))

    def float_tensor(self, name: str, tensor: str, divisors: tuple[float, ...] = ()) -> str:
        """Add a tensor of the checkpoint as float32, its last axis divided by the divisors if there are any."""
        divisor = np.asarray(divisors or 1, dtype=np.float32)
        return self.g.tensor(
            name, np.float32, self.checkpoint.source.shapes[tensor], lambda: self.checkpoint.tensor(tensor) / divisor
        )

    # -- look-up tables -----------------------------------------------------------------------------------------

    def word_table(self) -> Table:
        """(V, H). A table that the decoder shares has the decoder's format, for it is stored once."""
        tied = "mlm" in self.heads and "decoder" not in self.heads
        layer = MLM_DECODER if tied else WORD_TABLE
        form = self.format_of(WORD_TABLE)
        exact = form.exact if isinstance(form, Int8Rows | BlockRows) else ()
        return self.table("embeddings.word", names.WORD_EMBEDDINGS, layer, self.shared_divisors, exact)

    @property
    def decoder_divisors(self) -> tuple[float, ...]:
        """What the MLM head's layer norm divides its channels by, for the decoder's sake."""
        form = self.format_of(MLM_DECODER)
        return form.input_divisors if isinstance(form, StaticInt8) else ()

    @property
    def shared_divisors(self) -> tuple[float, ...]:
        """The same, if the decoder's matrix, which is multiplied by them, is the words' table too."""
        return () if "decoder" in self.heads or "mlm" not in self.heads else self.decoder_divisors

    def table(
        self, name: str, tensor: str, layer: str, factors: tuple[float, ...] = (), exact: tuple[int, ...] = ()
    ) -> Table:
        """A table in the format of a layer, its columns multiplied by factors if there are any."""
        rounding, scaled = self.roundings(layer), np.asarray(factors or 1, dtype=np.float32)
        if factors:
            rounding = rounding.scaled(scaled)
        shape = self.checkpoint.source.shapes[tensor]

        def load() -> NDArray[np.float32]:
            values = self.checkpoint.tensor(tensor)
            return values * scaled if factors else values

        return table(self.g, name, self.format_of(layer), (shape[0], shape[1]), load, rounding, exact)
