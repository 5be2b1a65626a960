"""Settings of training and distillation, and the sizes of a new model. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bertedge.encoders import BERT, EncoderConfig
from bertedge.errors import UsageError
from bertedge.keys import Key, check_keys, key, keys_of

#: Settings that can end a run; exactly one is set.
BUDGETS = ("steps", "minutes", "epochs")
#: Settings that do not change a step. A resumed run may change them.
BOOKKEEPING = ("save_minutes", "dtype")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and how fast to learn. Exactly one of ``steps``, ``minutes`` and ``epochs`` ends the run."""

    steps: int | None = key(None, "Stop after this many steps.", at_least=1)
    minutes: float | None = key(None, "Stop after this many minutes; 10 if no other budget is given.", above=0)
    epochs: float | None = key(None, "Stop after this many passes over the corpus.", above=0)
    batch_size: int = key(32, "Pairs in a step, over all processes.", at_least=1)
    accumulate: int = key(1, "Micro-batches of a step in each process; more take less memory.", at_least=1)
    max_length: int = key(128, "Tokens of a pair.", at_least=8)
    learning_rate: float = key(5e-4, "Peak learning rate.", above=0)
    warmup_share: float = key(
        0.05, "Share of the run in which the learning rate rises; then it falls to zero.", at_least=0, below=1
    )
    weight_decay: float = key(0.01, "Weight decay of matrices.", at_least=0)
    max_grad_norm: float = key(1.0, "Largest norm of the gradient; larger gradients are scaled down.", above=0)
    dropout: float | None = key(
        None, "Dropout during training; default: the value in config.json.", at_least=0, below=1
    )
    whole_words: bool = key(False, "Mask whole words instead of single tokens.")
    held_out: float = key(0.01, "Share of the documents to hold out and measure on.", at_least=0, at_most=0.5)
    evaluations: int = key(20, "Number of measurements on held-out documents; the best checkpoint is kept.", at_least=1)
    save_minutes: float = key(10.0, "Minutes between two saves of the state.", above=0)
    seed: int = key(0, "Seed of weights, pairs and masks.", at_least=0)
    precision: Literal["auto", "float32", "bfloat16"] = key(
        "auto",
        "Number type of a step; auto is bfloat16 if the machine supports it.",
        one_of=("auto", "float32", "bfloat16"),
    )
    dtype: Literal["float32", "float16"] = key(
        "float32", "Number type of the weights in the checkpoint.", one_of=("float32", "float16")
    )

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in BUDGETS) != 1:
            raise UsageError(
                "training needs exactly one of steps, minutes and epochs", "--steps 1000, --minutes 30 or --epochs 3"
            )
        check_keys(self)
        if self.accumulate > self.batch_size:
            raise UsageError(
                f"accumulate is {self.accumulate}, expected at most the batch size, {self.batch_size}",
                "lower accumulate, or raise batch_size",
            )

    def share_done(self, *, steps: int, elapsed_s: float, epochs: float) -> float:
        """The used share of the budget, 0 to 1."""
        if self.steps is not None:
            return min(1.0, steps / self.steps)
        if self.epochs is not None:
            return min(1.0, epochs / self.epochs)
        return min(1.0, elapsed_s / (60 * (self.minutes or 1.0)))

    def rate(self, share_done: float) -> float:
        """The learning rate: linear warm-up, then linear decay until the budget ends; never zero."""
        if share_done < self.warmup_share:
            return self.learning_rate * max(share_done / self.warmup_share, 0.01)
        return self.learning_rate * max((1.0 - share_done) / (1.0 - self.warmup_share), 0.01)


@dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """Weights of the parts of the loss; see :mod:`bertedge.train.distill`. At least one is above 0."""

    hidden_weight: float = key(1.0, "Weight of the teacher's hidden states.", at_least=0)
    logits_weight: float = key(1.0, "Weight of the teacher's answers, for the heads that both have.", at_least=0)
    labels_weight: float = key(0.5, "Weight of the labels from the text.", at_least=0)
    relations_weight: float = key(
        0.0, "Weight of the self-attention relations in the teacher's last block.", at_least=0
    )
    relation_heads: int | None = key(
        None, "Heads of the relations; default: the student's, where they divide the teacher's width.", at_least=1
    )
    temperature: float = key(1.0, "Temperature of the teacher's answers.", above=0)

    def __post_init__(self) -> None:
        check_keys(self)
        weights = (self.hidden_weight, self.logits_weight, self.labels_weight, self.relations_weight)
        if sum(weights) == 0:
            raise UsageError("distillation: all weights are 0", "set one of them above 0, such as hidden_weight")


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a new model."""

    layers: int = key(4, "Encoder blocks.", at_least=1, at_most=1024)
    hidden: int = key(256, "Width of the model.", at_least=1, at_most=65536)
    heads: int | None = key(None, "Attention heads; default: one for each 32 or 64 of the width.", at_least=1)
    vocab_size: int = key(30522, "Tokens in a new vocabulary; a student has its teacher's.", at_least=100)

    def __post_init__(self) -> None:
        check_keys(self)

    def config(self, vocab_size: int, max_positions: int = 512) -> EncoderConfig:
        """A BERT of this shape: heads about 32 or 64 wide, a feed-forward four times as wide as the model.

        Raises:
            UsageError: the heads do not divide the width.
        """
        usual = max(1, self.hidden // (32 if self.hidden <= 384 else 64))
        heads = self.heads or next(count for count in range(usual, 0, -1) if self.hidden % count == 0)
        if self.hidden % heads:
            raise UsageError(
                f"{heads} attention heads do not divide a width of {self.hidden}", "choose heads that divide hidden"
            )
        return BERT.config(
            vocab_size=vocab_size,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=max_positions,
        )


#: Defaults of ``bertedge distill`` that differ. The soft answers of a teacher regularise enough.
DISTILLING = {"learning_rate": 1e-3, "dropout": 0.0}


def training_keys() -> dict[str, Key]:
    """The settings of ``bertedge train`` by name."""
    return keys_of(TrainingSettings, ModelShape)


def distillation_keys() -> dict[str, Key]:
    """The settings of ``bertedge distill`` by name; a student has the vocabulary of its teacher."""
    keys = keys_of(TrainingSettings, DistillationSettings, ModelShape)
    del keys["vocab_size"]
    return keys | {name: replace(keys[name], default=default) for name, default in DISTILLING.items()}
