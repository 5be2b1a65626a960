"""The training loop that pretraining and distillation share."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from bertedge.errors import TrainingError
from bertedge.heads import TASKS
from bertedge.predictor import NO_LABEL
from bertedge.train.inputs import Counts, Feed, Inputs
from bertedge.train.model import BertForPreTraining, PretrainingOutput
from bertedge.train.training_settings import TrainingSettings
from bertedge.train.world import World

#: The approximate number of steps in the running means.
WINDOW = 100


@dataclass(kw_only=True)
class Progress:
    """The progress of a run, updated after every step. Loss and accuracies are running means.

    Attributes:
        accuracies: task -> accuracy; tasks that are not trained, or had no label yet, are missing.
        stopped: the run was interrupted before its end, and its state is saved.
    """

    step: int = 0
    share_done: float = 0.0
    loss: float = 0.0
    accuracies: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    elapsed_s: float = 0.0
    averaged: int = 0
    stopped: bool = False

    def update(self, *, loss: float, accuracies: Mapping[str, float]) -> None:
        """Add one step to the running means. Tasks without a label in this step are missing."""
        self.averaged = min(self.averaged + 1, WINDOW)
        blend = 1 / self.averaged
        self.loss += blend * (loss - self.loss)
        for task, value in accuracies.items():
            mean = self.accuracies.get(task, value)
            self.accuracies[task] = mean + blend * (value - mean)

    def record(self) -> dict[str, Any]:
        """The fields of a line of the log."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("averaged", "stopped")}
        return with_accuracies(fields)


def with_accuracies(fields: dict[str, Any]) -> dict[str, Any]:
    """Replace ``accuracies`` by ``<task>_accuracy`` for each task; None if a task has no accuracy."""
    accuracies = fields.pop("accuracies")
    return fields | {f"{task}_accuracy": accuracies.get(task) for task in TASKS}


#: (student's output, its inputs, counts of the whole step) -> this micro-batch's part of the step's loss
Objective = Callable[[PretrainingOutput, Inputs, Counts], Tensor]


def pretraining_loss(output: PretrainingOutput, inputs: Inputs, counts: Counts) -> Tensor:
    """Cross-entropy of the heads that the model runs (Devlin et al. 2019, appendix A.2).

    MLM: the mean over the masked positions of the step. NSP: the sum over its labelled pairs, divided by the number of
    all its pairs. The model must run at least one head.
    """
    parts = [
        F.cross_entropy(logits.float(), inputs.labels[task], ignore_index=NO_LABEL, reduction="sum")
        / counts.labels[task]
        for task, logits in output.logits.items()
    ]
    return sum(parts[1:], parts[0])


class Trainer:
    """Trains a model: AdamW, linear warm-up and decay, gradient clipping, bfloat16 if the machine supports it.

    Args:
        feed: gives the inputs of each step. A resumed run needs its place and the trainer's :meth:`state`.
    """

    def __init__(
        self, model: BertForPreTraining, feed: Feed, objective: Objective, settings: TrainingSettings, world: World
    ) -> None:
        keep_freed_memory()
        self.model = model.to(world.device)
        self.feed, self.progress = feed, Progress()
        self.objective, self._settings, self._world = objective, settings, world
        self._net: torch.nn.Module = DistributedDataParallel(self.model) if world.size > 1 else self.model
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(model, settings), lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True
        )
        self.precision = _precision(settings, world.device)
        self._before_s, self._begin = 0.0, time.perf_counter()

    def state(self) -> dict[str, Any]:
        """The state for :meth:`load_state`. With it, a resumed run ends with the same weights."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "progress": asdict(self.progress),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self._before_s, self._begin = self.progress.elapsed_s, time.perf_counter()

    def step(self) -> None:
        """Learn from one batch.

        Raises:
            TrainingError: the loss or its gradient is no longer finite; the weights are those before this step.
        """
        settings, progress, world = self._settings, self.progress, self._world
        self.model.train()
        # each step has its own seed for dropout, so that a resumed run draws the same
        torch.manual_seed((settings.seed * 1_000_003 + progress.step) * world.size + world.rank)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate(progress.share_done)
        self._optimizer.zero_grad(set_to_none=True)
        batches = self.feed.next()
        counts = Counts.of(batches, world)
        totals = torch.zeros(1 + len(self.model.tasks), dtype=torch.float64)
        for index, inputs in enumerate(batches):
            last = index == len(batches) - 1
            totals += self._micro_step(inputs, counts, synchronize=last)
        loss, *hits = world.sums(totals.tolist())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss is {loss} and its gradient {norm} at step {progress.step + 1}",
                "lower --learning-rate; the last checkpoint is kept",
            )
        self._optimizer.step()
        self._record(loss, hits, counts)

    def _micro_step(self, inputs: Inputs, counts: Counts, *, synchronize: bool) -> Tensor:
        """Add one micro-batch's gradient; returns its part of the loss, and its hits in each task."""
        alone = self._net.no_sync() if isinstance(self._net, DistributedDataParallel) and not synchronize else None
        with alone or nullcontext():
            with torch.autocast(self._world.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                output = inputs.run(self._net)
                loss = self.objective(output, inputs, counts)
            (loss * self._world.size).backward()  # gradients are averaged over processes, but losses must be summed
        with torch.no_grad():
            hits = [_hits(output.logits[task], inputs.labels[task]) for task in self.model.tasks]
        return torch.tensor([loss.item(), *hits], dtype=torch.float64)

    def _record(self, loss: float, hits: Sequence[float], counts: Counts) -> None:
        progress = self.progress
        progress.step += 1
        progress.tokens += counts.tokens
        progress.elapsed_s = self._world.from_first(self._before_s + time.perf_counter() - self._begin)
        progress.share_done = self._settings.share_done(
            steps=progress.step, elapsed_s=progress.elapsed_s, epochs=self.feed.epochs
        )
        found = zip(self.model.tasks, hits, strict=True)
        progress.update(
            loss=loss, accuracies={task: right / counts.known[task] for task, right in found if counts.known[task]}
        )


def _hits(logits: Tensor, labels: Tensor) -> float:
    """The number of rows whose largest logit is the label's."""
    return float((logits.argmax(1) == labels).sum().item())


def keep_freed_memory() -> None:
    """Let the C library keep large freed blocks for the next step instead of returning them to the kernel.

    glibc maps and unmaps every block over 32 MB, and the logits are several times larger. For a 4 x 256 student,
    clearing new pages took a quarter of the time of both cores, and a step took 1.29 s instead of 0.70 s.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 256 * 2**20)):
        mallopt(option, value)


def _parameter_groups(model: BertForPreTraining, settings: TrainingSettings) -> list[dict]:
    """Parameter groups: no weight decay for biases and layer norms."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _precision(settings: TrainingSettings, device: torch.device) -> str:
    """bfloat16 if the processor multiplies it natively; otherwise float32, which is then faster."""
    if settings.precision != "auto":
        return settings.precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bfloat16" if supported is not None and supported() else "float32"
