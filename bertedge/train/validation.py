"""Measures a model on held-out documents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bertedge.data.batches import Layout, drawn_batches, without_one_sided_labels
from bertedge.data.corpus import TokenizedCorpus
from bertedge.predictor import NO_LABEL
from bertedge.train.inputs import Counts, Inputs
from bertedge.train.loop import Objective, pretraining_loss, with_accuracies
from bertedge.train.model import BertForPreTraining
from bertedge.train.world import World

#: The most pairs to measure: enough for a point of a curve, and fast.
PAIRS = 256
BATCH = 32
#: The number of pairs to draw for each measured pair.
SURPLUS = 16
#: If a corpus has fewer documents, none are held out.
MIN_DOCUMENTS = 10


@dataclass(frozen=True, kw_only=True)
class Score:
    """Loss and accuracies on held-out pairs. Every chosen position is ``[MASK]``.

    Attributes:
        loss: the sum over the tasks; for a model trained without a head, its training loss.
        accuracies: task -> accuracy; tasks that are not trained, or have no label, are missing.
    """

    loss: float
    accuracies: dict[str, float]
    pairs: int

    def record(self) -> dict[str, Any]:
        """The fields of a line of the log."""
        return with_accuracies(asdict(self))


def hold_out_documents(
    corpus: TokenizedCorpus, share: float, seed: int
) -> tuple[TokenizedCorpus, TokenizedCorpus | None]:
    """The documents for training, and ``share`` of the documents for validation.

    At least two are held out; none of a corpus with fewer than :data:`MIN_DOCUMENTS`.
    """
    if share == 0 or corpus.num_documents < MIN_DOCUMENTS:
        return corpus, None
    return corpus.split(max(2, round(share * corpus.num_documents)), np.random.default_rng([seed, 0]))


class HeldOut:
    """Fixed pairs with fixed masks from held-out documents.

    Args:
        pairs: the largest number of pairs.
        always_mask: show ``[MASK]`` at every chosen position, as at inference; False for the 80/10/10 rule of
            pretraining, which is easier, because one position in ten shows its own token.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        layout: Layout,
        *,
        max_length: int,
        seed: int,
        pairs: int = PAIRS,
        always_mask: bool = True,
    ) -> None:
        drawn = drawn_batches(
            corpus,
            layout,
            np.random.default_rng([seed, 1]),
            count=pairs,
            max_length=max_length,
            batch_size=BATCH,
            always_mask=always_mask,
            candidates=SURPLUS * pairs,  # documents come in random order, so not all pairs must be drawn
        )
        self.batches = without_one_sided_labels(drawn)

    @torch.no_grad()
    def score(
        self, model: BertForPreTraining, device: torch.device, precision: str, objective: Objective = pretraining_loss
    ) -> Score:
        """Run the model on all pairs.

        Args:
            objective: the loss of a model without a trained head.
        """
        model.eval()
        sums, loss = {task: _Sum() for task in model.tasks}, 0.0
        batches = [Inputs.of(batch, device) for batch in self.batches]
        counts = Counts.of(batches, World())
        for inputs in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                output = inputs.run(model)
                if not model.tasks:
                    loss += objective(output, inputs, counts).item()
            for task, logits in output.logits.items():
                sums[task] += _Sum.of_logits(logits, inputs.labels[task])
        model.train()
        return Score(
            loss=sum(seen.loss / max(seen.of, 1) for seen in sums.values()) + loss,
            accuracies={task: seen.hits / seen.of for task, seen in sums.items() if seen.of},
            pairs=sum(len(inputs.input_ids) for inputs in batches),
        )


@dataclass(frozen=True)
class _Sum:
    """Sums over one task: losses, hits, and answers."""

    loss: float = 0.0
    hits: float = 0.0
    of: int = 0

    @classmethod
    def of_logits(cls, logits: Tensor, labels: Tensor) -> _Sum:
        """The sums over one batch."""
        loss = F.cross_entropy(logits.float(), labels, ignore_index=NO_LABEL, reduction="sum").item()
        hits = (logits.float().argmax(1) == labels).sum().item()
        return cls(loss, hits, int((labels != NO_LABEL).sum()))

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum(self.loss + other.loss, self.hits + other.hits, self.of + other.of)
