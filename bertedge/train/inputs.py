"""The pairs of a step as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bertedge.data.batches import Layout, masked_batch
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.stream import PairStream, Place
from bertedge.heads import HEADS, TASKS
from bertedge.predictor import NO_LABEL, Batch
from bertedge.train.model import PretrainingOutput
from bertedge.train.training_settings import TrainingSettings
from bertedge.train.world import World


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """A batch as tensors. Its M masked positions are indices into the flattened rows."""

    input_ids: Tensor
    attention_mask: Tensor | None
    token_type_ids: Tensor
    masked_index: Tensor
    labels: dict[str, Tensor]
    tokens: int

    @classmethod
    def of(cls, batch: Batch, device: torch.device | None = None) -> Inputs:
        """Convert a batch. A batch without padding gets no attention mask."""
        rows, length = batch.input_ids.shape
        filled = batch.filled
        index = batch.masked_positions + np.arange(rows)[:, None] * length
        full = bool(batch.attention_mask.all())

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device or torch.device("cpu"), non_blocking=True)

        return cls(
            input_ids=tensor(batch.input_ids),
            attention_mask=None if full else tensor(batch.attention_mask),
            token_type_ids=tensor(batch.token_type_ids),
            masked_index=tensor(index[filled]),
            labels={
                task: tensor(labels[filled] if HEADS[task].reads == "masked" else labels)
                for task, labels in batch.labels.items()
            },
            tokens=int(batch.attention_mask.sum()),
        )

    def run(self, model: torch.nn.Module) -> PretrainingOutput:
        """One forward pass of a :class:`bertedge.train.model.BertForPreTraining`, bare or wrapped."""
        output: PretrainingOutput = model(self.input_ids, self.attention_mask, self.token_type_ids, self.masked_index)
        return output


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts of one step, over all processes.

    Attributes:
        labels: task -> number of labels, known and unknown, such as masked positions or pairs. The sum of losses is
            divided by it, so that every known label has the same weight.
        known: task -> number of known labels.
    """

    labels: dict[str, int]
    known: dict[str, int]
    tokens: int

    @classmethod
    def of(cls, inputs: list[Inputs], world: World) -> Counts:
        """Count the labels of this process's micro-batches, and sum over all processes."""
        labels = [sum(len(i.labels[task]) for i in inputs) for task in TASKS]
        known = [sum(int((i.labels[task] != NO_LABEL).sum()) for i in inputs) for task in TASKS]
        tokens, *counts = (int(total) for total in world.sums([sum(i.tokens for i in inputs), *labels, *known]))
        return cls(
            tokens=tokens,
            labels=dict(zip(TASKS, counts[: len(TASKS)], strict=True)),
            known=dict(zip(TASKS, counts[len(TASKS) :], strict=True)),
        )


class Feed:
    """The steps of a run: each process gets its share of a step's pairs, in micro-batches.

    All processes read the same stream, so the pairs of a step do not depend on the number of processes.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        layout: Layout,
        settings: TrainingSettings,
        world: World,
        place: Place | None = None,
    ) -> None:
        self._layout, self._settings, self._world = layout, settings, world
        self._stream = PairStream(corpus, max_length=settings.max_length, seed=settings.seed, place=place)

    @property
    def place(self) -> Place:
        """Where the next step starts."""
        return self._stream.place

    @property
    def epochs(self) -> float:
        """Passes over the corpus so far."""
        return self._stream.epochs

    def next(self) -> list[Inputs]:
        """This process's micro-batches of the next step."""
        own = self._stream.take(self._settings.batch_size)[self._world.rank :: self._world.size]
        parts = [own[i :: self._settings.accumulate] for i in range(self._settings.accumulate)]
        return [self._inputs(part) for part in parts if part]

    def _inputs(self, part: list) -> Inputs:
        pairs, rngs = zip(*part, strict=True)
        return Inputs.of(masked_batch(pairs, self._layout, rngs), self._world.device)
