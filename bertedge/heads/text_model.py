"""The interface of a loaded model for the methods of heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import EncoderConfig
from bertedge.encoding import Encoding
from bertedge.errors import CheckpointError
from bertedge.pooling import EmbeddingSettings
from bertedge.predictor import Row, RowOutputs
from bertedge.tokenizer import Tokenizer

T = TypeVar("T")
NO_POSITIONS = np.zeros(0, dtype=np.int64)


class Runner(Protocol):
    """Runs texts; see :class:`bertedge.runtime.row_runner.RowRunner`."""

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run texts of any lengths; ``read`` makes the result of one text's outputs."""
        ...


class TextModel:
    """A loaded model; the base of the methods that heads add to :class:`bertedge.BertRuntime`.

    Attributes:
        config: the model's sizes.
        heads: the heads that it has tensors for.
        has_pooler: whether it has a pooler.
        verbs: the commands that use it.
        head_settings: what its checkpoint says about its heads, as :data:`bertedge.heads.parts.HeadSettings`.
    """

    name: str
    config: EncoderConfig
    heads: tuple[str, ...]
    has_pooler: bool
    verbs: tuple[str, ...]
    head_settings: Any
    tokenizer: Tokenizer
    runner: Runner

    @property
    def embedding(self) -> EmbeddingSettings | None:
        """How it makes vectors; None if its checkpoint has no such settings."""
        return self.head_settings.embedding

    def _require(self, head: str) -> None:
        if head not in self.heads:
            raise CheckpointError(
                f"{self.name}: has no {head} head, only {', '.join(self.heads) or 'the encoder'}",
                f"use a model that has it; with this one, use: bertedge {' or '.join(self.verbs)}",
            )


def row_of(encoding: Encoding, *, masked_positions: NDArray[np.int64] = NO_POSITIONS, hidden: bool = False) -> Row:
    """An encoded text, as engines take it."""
    return Row(
        input_ids=np.asarray(encoding.input_ids, dtype=np.int64),
        token_type_ids=np.asarray(encoding.token_type_ids, dtype=np.int64),
        masked_positions=masked_positions,
        hidden=hidden,
    )
