"""The interface of all models: ``predict(Batch) -> Outputs``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError

#: Label of an unknown answer, and of positions that only fill up a row.
NO_LABEL = -1
#: Prefix of labels among the arrays of a batch.
LABELS = "labels."
#: Names of the outputs that are not logits.
HIDDEN_STATES, POOLER_OUTPUT = "hidden_states", "pooler_output"
#: Outputs of one text, without the batch dimension: logits under their head's name, and the two above.
RowOutputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch of encoded texts; rows shorter than S are padded on the right.

    Attributes:
        input_ids: shape (B, S), int64.
        attention_mask: 1 at real tokens, 0 at padding, shape (B, S), int64.
        token_type_ids: segment, 0 or 1, shape (B, S), int64.
        masked_positions: where heads that read masked positions are computed, shape (B, K), int64; rows with fewer than
            K are filled with 0.
        masked_counts: masked positions of each row without the filling, shape (B,), int64; None if all have K.
        labels: head -> the right answers, a row for each text. ``NO_LABEL``, or NaN in an array of floats, where they
            are unknown; see :attr:`bertedge.heads.Head.labels` and :meth:`bertedge.heads.Head.target`.
        second: where the second text of each row stands: its first token, and the one after its last, shape (B, 2),
            int64; both are equal for a single text. None if it is not known.
        texts: the one text or the two texts of each row, as they were written; None if they are not known.
        hidden: whether the hidden states of all positions are read.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    masked_positions: NDArray[np.int64]
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    masked_counts: NDArray[np.int64] | None = None
    second: NDArray[np.int64] | None = None
    texts: tuple[tuple[str, ...], ...] | None = None
    hidden: bool = False

    def __post_init__(self) -> None:
        shape = self.input_ids.shape
        if len(shape) != 2 or self.attention_mask.shape != shape or self.token_type_ids.shape != shape:
            raise UsageError(
                f"batch: input_ids {shape}, attention_mask {self.attention_mask.shape} and token_type_ids "
                f"{self.token_type_ids.shape} differ in shape",
                "all three are (batch, length)",
            )
        for name, array in (("masked_positions", self.masked_positions), *self.labels.items()):
            if len(array) != shape[0]:
                raise UsageError(
                    f"batch: {name} {array.shape} do not fit {shape[0]} rows", "give one row for each text"
                )

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """The arrays that a file of a batch holds, by name; labels are named ``labels.<head>``."""
        names = ["input_ids", "attention_mask", "token_type_ids", "masked_positions"]
        names += [] if self.masked_counts is None else ["masked_counts"]
        labels = {f"{LABELS}{head}": array for head, array in self.labels.items()}
        return {name: getattr(self, name) for name in names} | labels

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.int64]], *, hidden: bool = False) -> Batch:
        """Make a batch from the result of :meth:`arrays`."""
        labels = {name.removeprefix(LABELS): array for name, array in arrays.items() if name.startswith(LABELS)}
        fields: dict[str, Any] = {name: array for name, array in arrays.items() if not name.startswith(LABELS)}
        return cls(**fields, labels=labels, hidden=hidden)

    def row(self, index: int) -> Batch:
        """A batch of one text, without its padding."""
        one, length = slice(index, index + 1), int(self.attention_mask[index].sum())
        return Batch(
            input_ids=self.input_ids[one, :length],
            attention_mask=self.attention_mask[one, :length],
            token_type_ids=self.token_type_ids[one, :length],
            masked_positions=self.masked_positions[one],
            labels={head: array[one] for head, array in self.labels.items()},
            second=None if self.second is None else self.second[one],
            texts=None if self.texts is None else self.texts[one],
            hidden=self.hidden,
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Real tokens of each row, shape (B,)."""
        return self.attention_mask.sum(axis=1)

    @property
    def single(self) -> NDArray[np.bool_]:
        """True at rows of one text, False at pairs, shape (B,)."""
        if self.second is not None:
            return self.second[:, 0] == self.second[:, 1]
        return ~((self.token_type_ids == 1) & (self.attention_mask == 1)).any(axis=1)

    @property
    def filled(self) -> NDArray[np.bool_]:
        """True at real masked positions, False at those that fill up a row, shape (B, K)."""
        rows, width = self.masked_positions.shape
        counts = np.full(rows, width) if self.masked_counts is None else self.masked_counts
        return np.arange(width) < counts[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One encoded text, without padding, and what is read from it.

    Attributes:
        input_ids, token_type_ids: shape (S,), int64.
        masked_positions: where heads that read masked positions are computed, shape (K,), int64.
        hidden: whether the hidden states of all positions are read.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    masked_positions: NDArray[np.int64]
    hidden: bool = False


def by_key(values: RowOutputs, outputs: Mapping[str, tuple[str, ...]]) -> RowOutputs:
    """The outputs of a graph under the names of :class:`Outputs`.

    Args:
        outputs: name in :class:`Outputs` -> its output in the graph; several become the columns of a new last axis.
    """
    return {
        key: values[names[0]] if len(names) == 1 else np.stack([values[name] for name in names], axis=-1)
        for key, names in outputs.items()
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """The outputs of a model; without those that it lacks or that were not requested.

    Attributes:
        logits: head -> values before the softmax, float32; shapes are those of the heads, such as (B, K, V) at masked
            positions.
        hidden_states: of the last layer, zeros at the padding, shape (B, S, H), float32; see :attr:`Batch.hidden`.
        pooler_output: shape (B, H), float32.
    """

    logits: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    hidden_states: NDArray[np.float32] | None = None
    pooler_output: NDArray[np.float32] | None = None

    def arrays(self) -> RowOutputs:
        """All outputs in one mapping; see :meth:`of`."""
        states = {HIDDEN_STATES: self.hidden_states, POOLER_OUTPUT: self.pooler_output}
        return {**self.logits, **{name: array for name, array in states.items() if array is not None}}

    @classmethod
    def of(cls, values: Mapping[str, NDArray[np.float32]]) -> Outputs:
        """Make outputs from one mapping: ``hidden_states``, ``pooler_output``, and logits under their head's name."""
        return cls(
            logits={name: array for name, array in values.items() if name not in (HIDDEN_STATES, POOLER_OUTPUT)},
            hidden_states=values.get(HIDDEN_STATES),
            pooler_output=values.get(POOLER_OUTPUT),
        )


class Predictor(Protocol):
    """A model on any runtime."""

    name: str

    def predict(self, batch: Batch) -> Outputs:
        """Run the model; a row's result depends neither on the other rows nor on the padding."""
        ...
