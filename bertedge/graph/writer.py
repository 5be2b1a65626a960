"""Writes single layers into a graph: a checkpoint's weights, in the formats of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint import Checkpoint
from bertedge.graph.builder import MICROSOFT, GraphBuilder, Place
from bertedge.graph.formats import BlockRows, Float32, Int8Rows, NumberFormat, Plan, StaticInt8
from bertedge.graph.linear import Load, OwnWeights, Weights, linear
from bertedge.graph.rounding import NEAREST, Rounding, Roundings
from bertedge.graph.stored import stored_layer, stored_matrix, stored_table, stored_tensors
from bertedge.graph.tables import Table, TableWeights, table
from bertedge.layers import Layer, Role, sharing, word_table
from bertedge.plan import SCHEMA_VERSION, StoredHead, StoredMatrix, StoredModel, StoredNorm, StoredTable

#: Activation function -> operator, its domain and its attributes.
OPERATORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gelu": ("Gelu", MICROSOFT, {}),
    "gelu_tanh": ("FastGelu", MICROSOFT, {}),
    "relu": ("Relu", "", {}),
    "silu": ("QuickGelu", MICROSOFT, {"alpha": 1.0}),  # x * sigmoid(alpha * x)
    "tanh": ("Tanh", "", {}),
}
#: ``masked``: heads that read masked positions at ``masked_positions`` only. ``all``: at every position, with the names
#: that Optimum expects.
Positions = Literal["masked", "all"]
#: Fields of a config that ``plan.json`` leaves out: those for training, and the activation's name in ``config.json``.
UNUSED = ("hidden_act", "decoder_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")


@dataclass
class EncoderGraph:
    """A built graph.

    Attributes:
        builder: its nodes and tensors; ``builder.write(path)`` writes the file.
        layers: the linear layers by name, in the order of computation.
        linear_inputs: layer name -> the value that the layer reads, for calibration.
        at_read_rows: layers of the last block that are computed only for the rows that are read.
        matrices: layer name -> its matrices, as they are stored.
        tables, norms: how look-up tables and layer norms are stored, by name.
        heads: what they read, and their steps, by name.
        relative_bias: the tensor of relative positions, if the encoder has them.
    """

    builder: GraphBuilder
    positions: Positions
    layers: dict[str, Layer] = field(default_factory=dict)
    linear_inputs: dict[str, str] = field(default_factory=dict)
    at_read_rows: set[str] = field(default_factory=set)
    matrices: dict[str, list[StoredMatrix]] = field(default_factory=dict)
    tables: dict[str, StoredTable] = field(default_factory=dict)
    norms: dict[str, StoredNorm] = field(default_factory=dict)
    heads: dict[str, StoredHead] = field(default_factory=dict)
    relative_bias: str | None = None

    def stored(self, checkpoint: Checkpoint, plan: Plan, places: Mapping[str, Place]) -> StoredModel:
        """The content of ``plan.json``.

        Args:
            places: where each tensor was written.
        """
        config = checkpoint.config
        sizes = {name: value for name, value in asdict(config).items() if name not in UNUSED}
        return StoredModel(
            schema_version=SCHEMA_VERSION,
            encoder={
                **sizes,
                "embedding_size": config.embedding_width,
                "activation": config.activation,
            },
            heads={name: self.heads[name] for name in checkpoint.heads},
            tables=self.tables,
            layers={
                name: stored_layer(layer, plan.get(name, Float32()), self.matrices[name])
                for name, layer in self.layers.items()
            },
            norms=self.norms,
            tensors=stored_tensors(self.builder, places),
            relative_bias=self.relative_bias,
        )


def nearest(layer: str) -> Rounding:
    """Round the weights of every layer to the nearest step."""
    return NEAREST


class LayerWriter:
    """Writes single layers into a graph, and records what each linear layer reads.

    Attributes:
        parts: the checkpoint's heads and pooler.
        layers: the layers of the model, by name.
        g: the builder that collects nodes and tensors.
        graph: the graph, with the records about its layers.
    """

    def __init__(
        self, checkpoint: Checkpoint, plan: Plan, positions: Positions, roundings: Roundings = nearest
    ) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.parts = checkpoint.parts
        self.layers = {layer.name: layer for layer in checkpoint.parts.layers(checkpoint.config)}
        self.sharing = sharing(self.layers.values())
        self.plan = plan
        self.positions = positions
        self.roundings = roundings
        self.g = GraphBuilder()
        self.graph = EncoderGraph(self.g, positions)

    def linear(self, layer: str, x: str) -> str:
        """A linear layer in the format that the plan gives it."""
        own = self.layers[layer]
        return self.multiply(own, self.record_format(own, x), layer, x, self.weights(own))

    def multiply(self, layer: Layer, form: NumberFormat, name: str, x: str, weights: Weights) -> str:
        """Multiply by the matrix of a layer, or by a part of it that has another name."""
        result = linear(form, self.g, name, x, weights)
        self.record_matrix(layer, name, x, weights)
        return result

    def record_matrix(self, layer: Layer, name: str, x: str, weights: Weights) -> None:
        """Record how a matrix was stored."""
        matrix = stored_matrix(self.g, weights.stored_as or name, x, weights.shape[0], table=layer.tied_to)
        self.graph.matrices.setdefault(layer.name, []).append(matrix)

    def decode(self, layer: str, x: str, bias: str) -> str:
        """A decoder: the words' table, or a matrix of its own."""
        decoder, divisors = self.layers[layer], self.decoder_divisors
        weights = self._decoder_weights(decoder, lambda: self.checkpoint.tensor(bias))
        form = self.record_format(decoder, x)
        if divisors and isinstance(form, StaticInt8):  # already applied to the layer norm and the matrix
            form = replace(form, input_divisors=())
        return self.multiply(decoder, form, layer, x, weights)

    def _decoder_weights(self, decoder: Layer, load_bias: Load) -> Weights:
        if decoder.tied_to is not None:
            return TableWeights(table=self.word_table(), load_bias=load_bias)
        weights = replace(self.weights(decoder), load_bias=load_bias)
        divisors = np.asarray(self.decoder_divisors, dtype=np.float32)
        return weights.with_columns_scaled(divisors) if len(divisors) else weights

    def record_format(self, layer: Layer, x: str) -> NumberFormat:
        """Record the value that a layer reads, for calibration and coverage. Returns the layer's format."""
        self.graph.layers[layer.name] = layer
        self.graph.linear_inputs[layer.name] = x
        return self.format_of(layer.name)

    def format_of(self, layer: str) -> NumberFormat:
        """The format that the plan gives a layer."""
        return self.plan.get(layer, Float32())

    def weights(self, layer: Layer, owners: tuple[str, ...] = ()) -> OwnWeights:
        """The weights of a layer as one matrix; of some of its owners only, if they are given."""
        owners = owners or layer.owners
        shapes = [self.checkpoint.source.shapes[f"{owner}.weight"] for owner in owners]
        pairs = [*zip(owners, shapes, strict=True)]
        shape = (sum(shape[0] for shape in shapes), shapes[0][1])
        return OwnWeights(
            shape=shape,
            load=lambda: np.concatenate([self.checkpoint.tensor(f"{owner}.weight") for owner in owners]),
            load_bias=lambda: np.concatenate([self.bias_of(f"{owner}.bias", n) for owner, (n, _) in pairs]),
            rounding=self.roundings(layer.stored),
            stored_as=layer.shares,
        )

    def bias_of(self, tensor: str, size: int) -> NDArray[np.float32]:
        """A bias (size,): zeros if the encoder has none, so that every stored layer has one."""
        stored = tensor in self.checkpoint.source.shapes
        return self.checkpoint.tensor(tensor) if stored else np.zeros(size, dtype=np.float32)

    @property
    def decoder_activation(self) -> str:
        """The function in front of a decoder."""
        return self.config.decoder_activation

    def activation(self, name: str, x: str, function: str) -> str:
        """An activation function: ``tanh``, or one of an encoder."""
        op_type, domain, attributes = OPERATORS[function]
        return self.g.op(op_type, [x], name, domain=domain, **attributes)

    def layer_norm(
        self, name: str, owner: str, x: str, divisors: tuple[float, ...] = (), stored: str | None = None
    ) -> str:
        """Layer norm; divisors of its channels are part of its weights, which another norm may have stored."""
        weight, bias = self.norm_tensors(name, owner, divisors, stored)
        return self.g.op("LayerNormalization", [x, weight, bias], name, epsilon=self.config.layer_norm_eps, axis=-1)

    def norm_tensors(
        self, name: str, owner: str, divisors: tuple[float, ...] = (), stored: str | None = None
    ) -> tuple[str, str]:
        """Add weight and bias of a layer norm as float32, divided by the divisors: (channels,) each."""
        source, divisor = f"{owner}.LayerNorm.weight", np.asarray(divisors or 1, dtype=np.float32)
        shape = self.checkpoint.source.shapes[source]
        weight = self.g.tensor(
            f"{stored or name}.weight", np.float32, shape, lambda: self.checkpoint.tensor(source) / divisor
        )
        bias = self.g.tensor(
            f"{stored or name}.bias",
            np.float32,
            shape,
            lambda: self.bias_of(f"{owner}.LayerNorm.bias", shape[0]) / divisor,
        )
        self.graph.norms[name] = StoredNorm(weight=weight, bias=bias)
        return weight, bias

    def add_norm(self, layer: Layer, owner: str, x: str, skip: str) -> str:
        """Skip connection and layer norm after a layer."""
        name = f"{layer.name}.norm"
        return self.layer_norm(name, owner, self.g.op("Add", [x, skip], f"{name}.sum"), stored=f"{layer.stored}.norm")

    # -- look-up tables -----------------------------------------------------------------------------------------

    def word_table(self) -> Table:
        """(V, H). A table that the decoder shares has the decoder's format, since it is stored once."""
        word = word_table(self.config)
        form = self.format_of(word.name)
        exact = form.exact if isinstance(form, Int8Rows | BlockRows) else ()
        if self.shared_divisors:
            self.word_reciprocals()
        return self.table(word, self.shared_divisors, exact)

    def word_reciprocals(self) -> str:
        """Factors that correct the rows of a shared table after a look-up: one over the decoder's divisors, (H,)."""
        return self.g.constant("embeddings.word.reciprocals", 1 / np.asarray(self.shared_divisors), np.float32)

    @property
    def decoder_divisors(self) -> tuple[float, ...]:
        """The divisors of the decoder's input, which the layer norm before it applies; empty for none."""
        decoder = next((layer for layer in self.layers.values() if layer.role == Role.DECODER), None)
        form = self.format_of(decoder.name) if decoder else None
        return form.input_divisors if isinstance(form, StaticInt8) else ()

    @property
    def shared_divisors(self) -> tuple[float, ...]:
        """The factors of the table of the words: the decoder's divisors if it shares this table; otherwise empty."""
        return self.decoder_divisors if self.sharing else ()

    def table(self, layer: Layer, factors: tuple[float, ...] = (), exact: tuple[int, ...] = ()) -> Table:
        """A table in its format, or in the format of the layer that shares it; columns are multiplied by factors."""
        deciding = self.sharing.get(layer.name, layer.name)
        rounding, scaled = self.roundings(deciding), np.asarray(factors or 1, dtype=np.float32)
        if factors:
            rounding = rounding.scaled(scaled)
        tensor = f"{layer.owners[0]}.weight"

        def load() -> NDArray[np.float32]:
            values = self.checkpoint.tensor(tensor)
            return values * scaled if factors else values

        form, shape = self.format_of(deciding), (layer.outputs, layer.inputs)
        rows = table(self.g, layer.name, form, shape, load, rounding, exact)
        self.graph.tables[layer.name] = stored_table(self.g, layer, form)
        return rows
