"""The parts of a model after its embeddings and blocks: heads, the pooler, an own decoder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bertedge.encoders import EncoderConfig
from bertedge.encoders.names import Shapes, encoder_shapes, pooler_shapes
from bertedge.heads import HEADS, Head
from bertedge.layers import Layer, Role, block_layers, embedding_projection, pooler, position_table, word_table

#: Prefixes in the names of layers, nodes and tensors; names with other prefixes belong to no part.
PARTS = ("embeddings", "encoder", "pooler", *HEADS)


@dataclass(frozen=True)
class Parts:
    """The parts of a model.

    Attributes:
        heads: names of the heads that have tensors, in the order of :data:`bertedge.heads.HEADS`.
        pooler: whether it has a pooler, the linear layer with tanh on the first token; a head may need one.
        tied: whether the table of the word embeddings is the matrix of a head's decoder too (Press and Wolf 2017);
            true without a decoder.
    """

    heads: tuple[str, ...] = ()
    pooler: bool = False
    tied: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(name for name in HEADS if name in self.heads))
        object.__setattr__(self, "pooler", self.pooler or any(head.needs_pooler for head in self.rows))
        object.__setattr__(self, "tied", self.tied or not self.reads_masked)

    @property
    def rows(self) -> list[Head]:
        """The rows of the table."""
        return [HEADS[name] for name in self.heads]

    def has(self, head: str) -> bool:
        """Whether the model has a head. Every model has the heads that need no tensors."""
        return head in self.heads or HEADS[head].mark is None

    @property
    def reads_pairs(self) -> bool:
        """Whether it judges pairs of texts."""
        return any(head.reads == "pair" for head in self.rows)

    @property
    def reads_masked(self) -> bool:
        """Whether a head is computed at masked positions."""
        return any(head.reads == "masked" for head in self.rows)

    def with_heads(self, heads: Collection[str]) -> Parts:
        """A copy with more heads."""
        return Parts((*self.heads, *heads), pooler=self.pooler, tied=self.tied)

    def shapes(self, config: EncoderConfig) -> Shapes:
        """The tensors of the whole model."""
        shapes = encoder_shapes(config)
        if self.pooler:
            shapes |= pooler_shapes(config)
        for head in self.rows:
            shapes |= head.shapes(config, tied=self.tied)
        return shapes

    def layers(self, config: EncoderConfig) -> tuple[Layer, ...]:
        """The layers of the whole model, in the order of computation; tables and classifiers follow."""
        blocks = [layer for index in range(config.num_hidden_layers) for layer in block_layers(config, index).layers]
        projection = [embedding_projection(config)] if config.embedding_projection else []
        pooled = [pooler(config)] if self.pooler else []
        own = [layer for head in self.rows for layer in head.layers(config, tied=self.tied)]
        classifiers = [layer for layer in own if layer.role == Role.CLASSIFIER]
        others = [layer for layer in own if layer.role != Role.CLASSIFIER]
        return (*projection, *blocks, *pooled, *others, word_table(config), position_table(config), *classifiers)
