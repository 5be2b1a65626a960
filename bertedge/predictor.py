"""The one seam that every backend shares: ``predict(Batch) -> Outputs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError

#: ``masked_labels`` where a row has fewer masked positions than the widest one.
NO_LABEL = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch of encoded texts; rows shorter than S are padded on the right.

    Attributes:
        input_ids: shape (B, S), int64.
        attention_mask: 1 at real tokens, 0 at padding, shape (B, S), int64.
        token_type_ids: segment, 0 or 1, shape (B, S), int64.
        masked_positions: where the MLM head is read, shape (B, K), int64; rows with fewer repeat position 0.
        masked_labels: the hidden pieces, ``NO_LABEL`` at the filling, shape (B, K), int64.
        next_sentence_labels: 0 is next, 1 random, ``NO_LABEL`` unknown, shape (B,), int64.
        hidden: whether the hidden states of all positions are read.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    masked_positions: NDArray[np.int64]
    masked_labels: NDArray[np.int64]
    next_sentence_labels: NDArray[np.int64]
    hidden: bool = False

    def __post_init__(self) -> None:
        shape = self.input_ids.shape
        if len(shape) != 2 or self.attention_mask.shape != shape or self.token_type_ids.shape != shape:
            raise UsageError(
                f"batch: input_ids {shape}, attention_mask {self.attention_mask.shape} and token_type_ids "
                f"{self.token_type_ids.shape} differ in shape",
                "all three are (batch, length)",
            )
        if self.masked_positions.shape != self.masked_labels.shape or len(self.masked_positions) != shape[0]:
            raise UsageError(
                f"batch: masked_positions {self.masked_positions.shape} and masked_labels {self.masked_labels.shape} "
                f"do not fit {shape[0]} rows",
                "both are (batch, positions)",
            )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Real tokens of each row, shape (B,)."""
        return self.attention_mask.sum(axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """What a model computes; None where it does not have the output, or was not asked for it.

    Attributes:
        mlm_logits: before the softmax, shape (B, K, V), float32.
        nsp_logits: before the softmax, shape (B, 2), float32; class 0 = is next, 1 = random.
        hidden_states: of the last layer, zeros at the padding, shape (B, S, H), float32; see :attr:`Batch.hidden`.
        pooler_output: shape (B, H), float32.
    """

    mlm_logits: NDArray[np.float32] | None
    nsp_logits: NDArray[np.float32] | None
    hidden_states: NDArray[np.float32] | None = None
    pooler_output: NDArray[np.float32] | None = None


class Predictor(Protocol):
    """A BERT behind any runtime."""

    name: str

    def predict(self, batch: Batch) -> Outputs:
        """Run the model; a row's result depends neither on the other rows nor on the padding."""
        ...
