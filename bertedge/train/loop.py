"""The training loop that pretraining and distillation share."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bertedge.data.batches import Layout, batched, masked_batch
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import sentence_pairs
from bertedge.errors import TrainingError, UsageError
from bertedge.predictor import NO_LABEL, Batch
from bertedge.train.model import BertForPreTraining, PretrainingOutput


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and how fast to learn. Exactly one of ``steps`` and ``minutes`` bounds the run."""

    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 32
    max_length: int = 128
    learning_rate: float = 5e-4
    warmup_share: float = 0.05
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UsageError("training needs either steps or minutes", "--steps 1000, or --minutes 30")
        if (self.steps or self.minutes or 0) <= 0 or self.batch_size < 1 or self.max_length < 8:
            raise UsageError(
                f"cannot train for {self.steps or self.minutes} with batches of {self.batch_size} x {self.max_length}",
                "all are to be positive, and the length at least 8",
            )


@dataclass(kw_only=True)
class Progress:
    """What a listener is told after every step; accuracies are running means."""

    step: int = 0
    share_done: float = 0.0
    loss: float = 0.0
    mlm_accuracy: float = 0.0
    nsp_accuracy: float = 0.0
    tokens: int = 0
    elapsed_s: float = 0.0
    averaged: int = field(default=0, repr=False)

    def update(self, *, loss: float, mlm_accuracy: float, nsp_accuracy: float | None) -> None:
        """Blend one step into running means over about the last 100 steps."""
        self.averaged = min(self.averaged + 1, 100)
        blend = 1 / self.averaged
        self.loss += blend * (loss - self.loss)
        self.mlm_accuracy += blend * (mlm_accuracy - self.mlm_accuracy)
        if nsp_accuracy is not None:
            self.nsp_accuracy += blend * (nsp_accuracy - self.nsp_accuracy)


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """A batch as torch wants it: M masked positions in all, as indices into the flattened rows."""

    input_ids: Tensor
    attention_mask: Tensor | None
    token_type_ids: Tensor
    masked_index: Tensor
    masked_labels: Tensor
    next_sentence_labels: Tensor
    tokens: int

    @classmethod
    def of(cls, batch: Batch) -> Inputs:
        """Flatten the masked positions and leave the mask out where nothing is padded."""
        rows, length = batch.input_ids.shape
        filled = batch.masked_labels != NO_LABEL
        index = batch.masked_positions + np.arange(rows)[:, None] * length
        full = bool(batch.attention_mask.all())
        return cls(
            input_ids=torch.from_numpy(batch.input_ids),
            attention_mask=None if full else torch.from_numpy(batch.attention_mask),
            token_type_ids=torch.from_numpy(batch.token_type_ids),
            masked_index=torch.from_numpy(index[filled]),
            masked_labels=torch.from_numpy(batch.masked_labels[filled]),
            next_sentence_labels=torch.from_numpy(batch.next_sentence_labels),
            tokens=int(batch.attention_mask.sum()),
        )

    def run(self, model: BertForPreTraining) -> PretrainingOutput:
        """One forward pass."""
        return model(self.input_ids, self.attention_mask, self.token_type_ids, self.masked_index)


#: (student's output, inputs, share of the run that is done) -> loss
Objective = Callable[[PretrainingOutput, Inputs, float], Tensor]


def pretraining_loss(output: PretrainingOutput, inputs: Inputs, share_done: float) -> Tensor:
    """MLM cross-entropy plus NSP cross-entropy (Devlin et al. 2019, appendix A.2)."""
    del share_done
    loss = torch.nn.functional.cross_entropy(output.mlm_logits.float(), inputs.masked_labels)
    if bool((inputs.next_sentence_labels != NO_LABEL).any()):
        loss = loss + torch.nn.functional.cross_entropy(
            output.nsp_logits.float(), inputs.next_sentence_labels, ignore_index=NO_LABEL
        )
    return loss


def endless_batches(
    corpus: TokenizedCorpus, layout: Layout, settings: TrainingSettings, rng: np.random.Generator
) -> Iterator[Inputs]:
    """Fresh pairs and fresh masks in every pass over the corpus."""
    while True:
        pairs = sentence_pairs(corpus, max_length=settings.max_length, rng=rng)
        for chunk in batched(_shuffled(pairs, rng), settings.batch_size):
            yield Inputs.of(masked_batch(chunk, layout, rng))


def _shuffled(pairs: Iterator, rng: np.random.Generator, window: int = 8192) -> Iterator:
    """Shuffle within a sliding window, so that a batch is not one document."""
    for chunk in batched(pairs, window):
        for index in rng.permutation(len(chunk)):
            yield chunk[index]


def fit(
    model: BertForPreTraining,
    batches: Iterator[Inputs],
    objective: Objective,
    settings: TrainingSettings,
    on_step: Callable[[Progress], None],
) -> Progress:
    """Minimise ``objective`` with AdamW: linear warm-up, then linear decay that ends with the budget.

    Args:
        on_step: called after every step, for progress and for writing checkpoints.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    keep_freed_memory()
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, settings), lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True
    )
    progress, start = Progress(), time.perf_counter()
    autocast = _use_bfloat16(settings)
    model.train()
    while progress.share_done < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(progress.share_done, settings.warmup_share)
        inputs = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = inputs.run(model)
            loss = objective(output, inputs, progress.share_done)
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss is {loss.item()} at step {progress.step + 1}",
                "lower --learning-rate; the last checkpoint is kept",
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        _record(progress, loss, output, inputs, settings, time.perf_counter() - start)
        on_step(progress)
    model.eval()
    return progress


def keep_freed_memory() -> None:
    """Let the C library keep large freed blocks for the next step instead of returning them to the kernel.

    glibc maps and unmaps every block over 32 MB, and the logits are several times that: measured on a 4 x 256 student,
    a quarter of both cores' time went into clearing fresh pages, and a step took 1.29 s instead of 0.70 s.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 256 * 2**20)):
        mallopt(option, value)


def _record(
    progress: Progress,
    loss: Tensor,
    output: PretrainingOutput,
    inputs: Inputs,
    settings: TrainingSettings,
    elapsed_s: float,
) -> None:
    progress.step += 1
    progress.tokens += inputs.tokens
    progress.elapsed_s = elapsed_s
    budget = progress.step / settings.steps if settings.steps else elapsed_s / (60 * (settings.minutes or math.inf))
    progress.share_done = min(1.0, budget)
    known = inputs.next_sentence_labels != NO_LABEL
    nsp_hits = (output.nsp_logits.argmax(1) == inputs.next_sentence_labels)[known].float()
    progress.update(
        loss=loss.item(),
        mlm_accuracy=(output.mlm_logits.argmax(1) == inputs.masked_labels).float().mean().item(),
        nsp_accuracy=nsp_hits.mean().item() if len(nsp_hits) else None,
    )


def _schedule(share_done: float, warmup_share: float) -> float:
    """Share of the peak learning rate; never zero, so that the first step counts."""
    if share_done < warmup_share:
        return max(share_done / warmup_share, 0.01)
    return max((1.0 - share_done) / (1.0 - warmup_share), 0.01)


def _parameter_groups(model: BertForPreTraining, settings: TrainingSettings) -> list[dict]:
    """No weight decay on biases and layer norms."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _use_bfloat16(settings: TrainingSettings) -> bool:
    """bfloat16 where the CPU multiplies it natively; elsewhere it would be slower than float32."""
    if settings.precision == "auto":
        return bool(torch.cpu._is_avx512_bf16_supported()) if hasattr(torch.cpu, "_is_avx512_bf16_supported") else False
    return settings.precision == "bfloat16"
