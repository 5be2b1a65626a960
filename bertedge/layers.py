"""The layers of a model: every linear layer and look-up table that has a number format, with its role.

A name identifies one layer, a role its kind. Code that treats kinds of layers differently looks at the role: what a
recipe does with the layer, which positions it reads, which table it shares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bertedge.encoders import EncoderConfig, names

#: The positions of a text that a layer is computed for, if all outputs are requested; ``mean``: once, for their mean.
Reads = Literal["every", "first", "masked", "mean"]


class Role(StrEnum):
    """What a layer does in the model."""

    QKV = "qkv"  # query, key and value of one block, as one matrix
    ATTENTION_OUTPUT = "attention_output"
    INTERMEDIATE = "intermediate"
    OUTPUT = "output"
    POOLER = "pooler"
    EMBEDDING_PROJECTION = "embedding_projection"  # from the width of the embeddings to the hidden size
    HEAD_TRANSFORM = "head_transform"  # the dense layer in front of a decoder or a classifier
    DECODER = "decoder"  # as many outputs as the vocabulary has tokens
    CLASSIFIER = "classifier"  # a few outputs
    WORD_TABLE = "word_table"
    POSITION_TABLE = "position_table"
    TOKEN_TYPE_TABLE = "token_type_table"

    @property
    def is_table(self) -> bool:
        """Whether the layer is looked up, not multiplied."""
        return self in (Role.WORD_TABLE, Role.POSITION_TABLE, Role.TOKEN_TYPE_TABLE)

    @property
    def in_blocks(self) -> bool:
        """Whether every encoder block has one."""
        return self in (Role.QKV, Role.ATTENTION_OUTPUT, Role.INTERMEDIATE, Role.OUTPUT)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A format that every method gives to the layers of a role, and the reason."""

    format: Literal["float16", "float32"]
    why: str


#: Roles that no method quantizes.
KEPT = {
    Role.EMBEDDING_PROJECTION: Kept(
        format="float16", why="it is less than 1 % of the work, and every block reads its output"
    ),
    # It runs right before the decoder and its weights are close to the identity; see the benchmarks' fidelity steps.
    Role.HEAD_TRANSFORM: Kept(
        format="float16", why="it is 1 % of the work, and in int8 it would lose more fidelity than a whole block"
    ),
    Role.CLASSIFIER: Kept(format="float32", why="a few rows"),
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear layer, or a look-up table.

    Attributes:
        owners: prefixes of its checkpoint tensors' names; several owners make one matrix, in this order.
        inputs: columns of its matrix; of a table, the width of a row.
        outputs: rows of its matrix; of a table, the number of rows.
        reads: the positions that it is computed for.
        tied_to: the table whose rows are its matrix.
        shares: the layer of an earlier block whose weights it uses; None for weights of its own.
    """

    name: str
    role: Role
    owners: tuple[str, ...]
    inputs: int
    outputs: int
    reads: Reads = "every"
    tied_to: str | None = None
    shares: str | None = None

    @property
    def stored(self) -> str:
        """The name under which its weights are stored."""
        return self.shares or self.name

    @property
    def block(self) -> int | None:
        """The index of its encoder block; None outside of the blocks."""
        return int(self.name.split(".")[2]) if self.role.in_blocks else None


@dataclass(frozen=True, kw_only=True)
class Block:
    """The linear layers of one encoder block."""

    qkv: Layer
    attention_output: Layer
    intermediate: Layer
    output: Layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The four layers, in the order of computation."""
        return self.qkv, self.attention_output, self.intermediate, self.output


def block_layers(config: EncoderConfig, index: int) -> Block:
    """The layers of encoder block ``index``."""
    name, stored = names.layer(index), config.stored_block(index)
    owner = names.layer(stored)
    first = next(other for other in range(index + 1) if config.stored_block(other) == stored)
    hidden, inner = config.hidden_size, config.intermediate_size
    parts = ("dense", "gate") if config.gated else ("dense",)
    halves = tuple(f"{owner}.intermediate.{part}" for part in parts)
    attention = tuple(f"{owner}.attention.self.{part}" for part in ("query", "key", "value"))

    def layer(part: str, role: Role, owners: tuple[str, ...], inputs: int, outputs: int) -> Layer:
        shares = None if first == index else f"{names.layer(first)}.{part}"
        return Layer(name=f"{name}.{part}", role=role, owners=owners, inputs=inputs, outputs=outputs, shares=shares)

    return Block(
        qkv=layer("attention.qkv", Role.QKV, attention, hidden, 3 * hidden),
        attention_output=layer(
            "attention.output", Role.ATTENTION_OUTPUT, (f"{owner}.attention.output.dense",), hidden, hidden
        ),
        intermediate=layer("intermediate", Role.INTERMEDIATE, halves, hidden, len(halves) * inner),
        output=layer("output", Role.OUTPUT, (f"{owner}.output.dense",), inner, hidden),
    )


def word_table(config: EncoderConfig) -> Layer:
    """The table of the tokens' embeddings."""
    owners, width = (names.WORD_EMBEDDINGS.removesuffix(".weight"),), config.embedding_width
    return Layer(name="embeddings.word", role=Role.WORD_TABLE, owners=owners, inputs=width, outputs=config.vocab_size)


def position_table(config: EncoderConfig) -> Layer:
    """The table of the positions' embeddings."""
    return Layer(
        name="embeddings.position",
        role=Role.POSITION_TABLE,
        owners=(names.POSITION_EMBEDDINGS.removesuffix(".weight"),),
        inputs=config.embedding_width,
        outputs=config.max_position_embeddings,
    )


def token_type_table(config: EncoderConfig) -> Layer:
    """The table of the token types' embeddings; it stays in float32 and no recipe names it."""
    return Layer(
        name="embeddings.token_type",
        role=Role.TOKEN_TYPE_TABLE,
        owners=(names.TOKEN_TYPE_EMBEDDINGS.removesuffix(".weight"),),
        inputs=config.embedding_width,
        outputs=config.type_vocab_size,
    )


def embedding_projection(config: EncoderConfig) -> Layer:
    """The linear layer between the embeddings and the first block."""
    return Layer(
        name="embeddings.projection",
        role=Role.EMBEDDING_PROJECTION,
        owners=(names.PROJECTION,),
        inputs=config.embedding_width,
        outputs=config.hidden_size,
    )


def pooler(config: EncoderConfig) -> Layer:
    """The pooler, which reads the first token."""
    width = config.hidden_size
    return Layer(name="pooler", role=Role.POOLER, owners=(names.POOLER,), inputs=width, outputs=width, reads="first")


def linear_layers(layers: Iterable[Layer]) -> list[Layer]:
    """The layers that calibration observes and a profile names: no tables and no classifiers."""
    return [layer for layer in layers if not layer.role.is_table and layer.role != Role.CLASSIFIER]


def planned_layers(layers: Iterable[Layer]) -> list[Layer]:
    """The layers that a recipe can give a format: all but classifiers."""
    return [layer for layer in layers if layer.role != Role.CLASSIFIER]


def sharing(layers: Iterable[Layer]) -> dict[str, str]:
    """Table -> the layer that is tied to it. The table has the format of this layer."""
    return {layer.tied_to: layer.name for layer in layers if layer.tied_to is not None}


def users(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """Layer -> all layers that use its weights, itself among them."""
    found: dict[str, list[str]] = {}
    layers = list(layers)
    for layer in layers:
        found.setdefault(layer.stored, []).append(layer.name)
    return {layer.name: tuple(found[layer.stored]) for layer in layers}
