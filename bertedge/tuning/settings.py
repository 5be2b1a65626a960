"""How to search, and what of it every measurement depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertedge.checkpoint import Checkpoint
from bertedge.data.calibration import default_text
from bertedge.data.files import text_sha256
from bertedge.engines.threads import checked_threads
from bertedge.errors import UsageError
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.machine import this_machine
from bertedge.layers import Role
from bertedge.recipe import require_examples
from bertedge.target import AUTO, resolve_target
from bertedge.tuning.state import Settings

SINGLE_CALL = Workload(batch_size=1, seq_len=128)


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How to search.

    Attributes:
        calibration: text to calibrate with; None for the one that ships.
        corpus: text to measure losses on; None to keep back a part of the calibration text for it.
        target: the CPU that the bundles are for.
        exclude: patterns of layers that stay float32 in every candidate.
        threads: the numbers of threads to try; empty for one and what :func:`bertedge.load` takes.
        workload: what a call is.
        examples: sentence pairs that losses are measured on.
        budget_minutes: when to stop, measured from the start; None for no limit.
        everything: try all candidates, also when the goals are met.
    """

    calibration: str | Path | None = None
    corpus: str | Path | None = None
    target: str = AUTO
    exclude: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    workload: Workload = SINGLE_CALL
    examples: int = 256
    seed: int = 0
    budget_minutes: float | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        require_examples(self.examples)
        if self.workload.batch_size < 1 or self.workload.seq_len < 3:
            raise UsageError(
                f"tune: {self.workload.batch_size} x {self.workload.seq_len} tokens",
                "at least 1 text of 3 tokens",
            )
        if self.budget_minutes is not None and not self.budget_minutes > 0:
            raise UsageError(f"--budget-minutes {self.budget_minutes:g}: expected more than 0", "no limit without it")
        _ = self.numbers  # of which each is checked

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of threads to try."""
        return tuple(sorted({checked_threads(number) for number in self.threads or (1, None)}))


def fixed(settings: TuneSettings, checkpoints: Sequence[Checkpoint]) -> Settings:
    """What has to be the same for a search to go on."""
    machine = this_machine()
    versions = f"bertedge {machine.bertedge}, onnxruntime {machine.onnxruntime}, numpy {machine.numpy}"
    return Settings(
        models=tuple(f"{checkpoint.name} {checkpoint.model_sha256}" for checkpoint in checkpoints),
        target=resolve_target(settings.target).name,
        exclude=settings.exclude,
        calibration_sha256=text_sha256(Path(settings.calibration or default_text())),
        corpus_sha256=text_sha256(Path(settings.corpus)) if settings.corpus else None,
        examples=settings.examples,
        seed=settings.seed,
        batch_size=settings.workload.batch_size,
        length=settings.workload.seq_len,
        threads=settings.numbers,
        machine=f"{machine.cpu}, {machine.target}, {versions}",
    )


def prefixes_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """What candidates' names begin with: nothing for a single model, else its name; numbered where two share one."""
    if len(checkpoints) == 1:
        return [""]
    names = [checkpoint.name for checkpoint in checkpoints]
    if len(set(names)) < len(names):
        return [f"{index + 1} {name} " for index, name in enumerate(names)]
    return [f"{name} " for name in names]


def work_of(checkpoint: Checkpoint, tokens: int) -> float:
    """Multiply-accumulates of a text, roughly: the blocks and the decoder at 15 % of the positions."""
    config = checkpoint.config
    masked = [layer for layer in checkpoint.parts.layers(config) if layer.role == Role.DECODER]
    decoder = sum(layer.inputs * layer.outputs for layer in masked)
    return tokens * (config.block_macs + 0.15 * decoder)
