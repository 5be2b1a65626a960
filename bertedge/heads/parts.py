"""The parts of a model after its embeddings and blocks: heads, the pooler, an own decoder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any

from bertedge.encoders import EncoderConfig
from bertedge.encoders.names import Shapes, encoder_shapes, pooler_shapes
from bertedge.heads import HEADS, Head
from bertedge.heads.structure import Structure
from bertedge.layers import Layer, Role, block_layers, embedding_projection, pooler, position_table, word_table
from bertedge.predictor import POOLER_OUTPUT

#: Prefixes in the names of layers, nodes and tensors; names with other prefixes belong to no part.
PARTS = ("embeddings", "encoder", "pooler", *HEADS)


#: What a checkpoint says about its heads: a field for each head that has settings, with None where the model has none.
HeadSettings: Any = make_dataclass(
    "HeadSettings",
    [(name, head.settings_type | None, None) for name, head in HEADS.items() if head.settings_type is not None],
    frozen=True,
    kw_only=True,
    namespace={"__module__": __name__},
)


@dataclass(frozen=True)
class Parts:
    """The parts of a model.

    Attributes:
        heads: names of the heads that have tensors, in the order of :data:`bertedge.heads.HEADS`.
        pooler: whether it has a pooler, the linear layer with tanh on the first token; a head may need one.
        tied: whether the table of the word embeddings is the matrix of a head's decoder too (Press and Wolf 2017);
            true without a decoder.
        settings: what the checkpoint says about its heads, as :data:`HeadSettings`.
    """

    heads: tuple[str, ...] = ()
    pooler: bool = False
    tied: bool = True
    settings: Any = field(default_factory=HeadSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(name for name in HEADS if name in self.heads))
        needed = any(head.reads_pooler(self.settings_of(head.name)) for head in self.rows)
        object.__setattr__(self, "pooler", self.pooler or needed)
        object.__setattr__(self, "tied", self.tied or not self.reads_masked)

    @property
    def rows(self) -> list[Head]:
        """The rows of the table."""
        return [HEADS[name] for name in self.heads]

    def has(self, head: str) -> bool:
        """Whether the model has a head. Every model has the heads that need no tensors."""
        return head in self.heads or HEADS[head].in_every_model

    @property
    def reads_pairs(self) -> bool:
        """Whether it judges pairs of texts."""
        return any(head.reads == "pair" for head in self.rows)

    @property
    def reads_every(self) -> bool:
        """Whether its users read every position: for a head that does, or for vectors, if it has no head."""
        return not self.heads or any(head.reads == "every" for head in self.rows)

    @property
    def reads_questions(self) -> bool:
        """Whether a head reads questions and their contexts."""
        return any(head.reads_questions for head in self.rows)

    @property
    def reads_only_questions(self) -> bool:
        """Whether all of its heads do, so that a single text is no text of its task."""
        return self.reads_questions and all(head.reads_questions for head in self.rows)

    def leaves_unread(self, head: str) -> bool:
        """Whether nobody reads the answers of a head, such as the hidden states of a mere classifier."""
        is_other_task = bool(self.heads) and not self.learns_from_text and self.settings_of(head) is None
        return HEADS[head].in_every_model and is_other_task

    @property
    def orders_documents(self) -> bool:
        """Whether a head orders texts, the second ones of pairs with equal first texts."""
        return any(head.reads == "pair" and head.task is None for head in self.rows)

    @property
    def needs_labels(self) -> bool:
        """Whether it has a head that is trained on labelled texts, such as a classifier."""
        return any(head.task is None for head in self.rows)

    @property
    def learns_from_text(self) -> bool:
        """Whether it has a head that is trained on text without labels."""
        return any(head.task is not None for head in self.rows)

    @property
    def learned_from_text(self) -> Parts:
        """A copy with only the heads that are trained on text without labels."""
        return replace(self, heads=tuple(head.name for head in self.rows if head.task is not None))

    @property
    def reads_masked(self) -> bool:
        """Whether a head is computed at masked positions."""
        return any(head.reads == "masked" for head in self.rows)

    @property
    def reads_mean(self) -> bool:
        """Whether a head reads the mean of all hidden states, so that every position is computed."""
        return any(head.reads_mean(self.settings_of(head.name)) for head in self.rows)

    def with_heads(self, heads: Collection[str]) -> Parts:
        """A copy with more heads."""
        return replace(self, heads=(*self.heads, *heads))

    def longest(self, most: int) -> int:
        """The most tokens of a text that its methods read: those of its heads, or of its vectors if it has none.

        Args:
            most: what the model can read.
        """
        read = self.rows or [head for head in HEADS.values() if self.has(head.name)]
        own = [head.longest(self.settings_of(head.name)) or most for head in read]
        return min(most, max(own))

    def settings_of(self, head: str) -> Any:
        """What the checkpoint says about a head; None if it says nothing."""
        return getattr(self.settings, head, None)

    def structure(self, head: str, config: EncoderConfig) -> Structure:
        """What decides the tensors and the layers of a head."""
        return Structure(config=config, tied=self.tied, settings=self.settings_of(head))

    def output_names(self, positions: str) -> dict[str, tuple[str, ...]]:
        """Head, or ``pooler_output`` -> names of its outputs in a graph; of every head that the model has.

        The tools that read ``positions="all"`` know one output ``logits``. The first head that has this name keeps it.

        Args:
            positions: ``masked`` or ``all``; see :func:`bertedge.graph.encoder_graph.build_graph`.
        """
        found: dict[str, tuple[str, ...]] = {}
        for name, head in HEADS.items():
            if self.has(name):
                own = head.output_names(positions)
                found[name] = head.output_names("masked") if own in found.values() else own
        return found | ({POOLER_OUTPUT: (POOLER_OUTPUT,)} if self.pooler else {})

    def outputs_by_key(self, positions: str) -> dict[str, tuple[str, ...]]:
        """Name in :class:`bertedge.predictor.Outputs` -> names of its outputs in a graph."""
        keys = {name: head.key for name, head in HEADS.items()} | {POOLER_OUTPUT: POOLER_OUTPUT}
        return {keys[name]: outputs for name, outputs in self.output_names(positions).items()}

    def shapes(self, config: EncoderConfig) -> Shapes:
        """The tensors of the whole model."""
        shapes = encoder_shapes(config)
        if self.pooler:
            shapes |= pooler_shapes(config)
        for head in self.rows:
            shapes |= head.shapes(self.structure(head.name, config))
        return shapes

    def layers(self, config: EncoderConfig) -> tuple[Layer, ...]:
        """The layers of the whole model, in the order of computation; tables and classifiers follow."""
        blocks = [layer for index in range(config.num_hidden_layers) for layer in block_layers(config, index).layers]
        projection = [embedding_projection(config)] if config.embedding_projection else []
        pooled = [pooler(config)] if self.pooler else []
        own = [layer for head in self.rows for layer in head.layers(self.structure(head.name, config))]
        classifiers = [layer for layer in own if layer.role == Role.CLASSIFIER]
        others = [layer for layer in own if layer.role != Role.CLASSIFIER]
        tables = [word_table(config), *([position_table(config)] if config.positions == "absolute" else [])]
        return (*projection, *blocks, *pooled, *others, *tables, *classifiers)
