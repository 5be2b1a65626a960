"""How long and how a model learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bertedge.errors import UsageError

#: Settings that change nothing about the weights: a run may be resumed with others.
BOOKKEEPING = ("save_minutes",)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and how fast to learn. Exactly one of ``steps``, ``minutes`` and ``epochs`` bounds the run.

    Attributes:
        batch_size: pairs in a step, over all processes and micro-batches.
        accumulate: micro-batches that a process splits its share of a step into, to save memory.
        warmup_share: share of the run in which the learning rate rises; it falls to zero in the rest.
        dropout: None for what the model's configuration says.
        whole_words: mask all tokens of a word, or none.
        held_out: share of the documents that is not learned from but measured on.
        evaluations: how often the held-out documents are measured.
        save_minutes: how often the state is saved, to go on from after an interruption.
    """

    steps: int | None = None
    minutes: float | None = None
    epochs: float | None = None
    batch_size: int = 32
    accumulate: int = 1
    max_length: int = 128
    learning_rate: float = 5e-4
    warmup_share: float = 0.05
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: float | None = None
    whole_words: bool = False
    held_out: float = 0.01
    evaluations: int = 20
    save_minutes: float = 10.0
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.steps, self.minutes, self.epochs) if bound is not None]
        if len(bounds) != 1:
            raise UsageError(
                "training needs exactly one of steps, minutes and epochs", "--steps 1000, --minutes 30 or --epochs 3"
            )
        for name, wrong, expected in (
            ("the run's length", not bounds[0] > 0, "above 0"),
            ("batch_size", self.batch_size < 1, "at least 1"),
            ("accumulate", not 1 <= self.accumulate <= self.batch_size, "from 1 to the batch size"),
            ("max_length", self.max_length < 8, "at least 8 tokens"),
            ("learning_rate", not self.learning_rate > 0, "above 0"),
            ("warmup_share", not 0 <= self.warmup_share < 1, "from 0 to below 1"),
            ("dropout", self.dropout is not None and not 0 <= self.dropout < 1, "from 0 to below 1"),
            ("held_out", not 0 <= self.held_out <= 0.5, "from 0 to 0.5"),
            ("evaluations", self.evaluations < 1, "at least 1"),
            ("save_minutes", not self.save_minutes > 0, "above 0"),
            ("seed", self.seed < 0, "at least 0"),
        ):
            if wrong:
                given = bounds[0] if name == "the run's length" else getattr(self, name)
                raise UsageError(f"training: {name} is {given}, expected {expected}", "see --help")

    def share_done(self, *, steps: int, elapsed_s: float, epochs: float) -> float:
        """How much of the budget is used up, 0 to 1."""
        if self.steps is not None:
            return min(1.0, steps / self.steps)
        if self.epochs is not None:
            return min(1.0, epochs / self.epochs)
        return min(1.0, elapsed_s / (60 * (self.minutes or 1.0)))

    def rate(self, share_done: float) -> float:
        """The learning rate: linear warm-up, then linear decay that ends with the budget; never quite zero."""
        if share_done < self.warmup_share:
            return self.learning_rate * max(share_done / self.warmup_share, 0.01)
        return self.learning_rate * max((1.0 - share_done) / (1.0 - self.warmup_share), 0.01)
