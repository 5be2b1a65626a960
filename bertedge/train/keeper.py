"""Writes the files of a run: its state, its log, and the best checkpoint so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from bertedge.checkpoint import write_checkpoint
from bertedge.errors import FileError
from bertedge.files import new_folder
from bertedge.pooling import EmbeddingSettings
from bertedge.records import write_json
from bertedge.tokenizer import Tokenizer
from bertedge.train.folder import RunFolder, Saved
from bertedge.train.loop import Trainer
from bertedge.train.training_settings import TrainingSettings
from bertedge.train.validation import HeldOut, Score
from bertedge.train.world import World

PROVENANCE = "training.json"
#: Steps between two lines of the log.
LOG_EVERY = 10


class Keeper:
    """Writes the files of a run in process 0. In other processes it does nothing."""

    def __init__(
        self,
        output: Path,
        folder: RunFolder,
        tokenizer: Tokenizer,
        provenance: dict[str, Any],
        held_out: HeldOut | None,
        world: World,
        note: Callable[[str], None],
        *,
        dtype: str,
        embedding: EmbeddingSettings | None = None,
    ) -> None:
        self._output, self._folder, self._tokenizer, self._provenance = output, folder, tokenizer, provenance
        self._held_out, self._world, self._note = held_out, world, note
        self._dtype, self._embedding = dtype, embedding
        self._best: dict[str, float] | None = None
        self._written_step = -1
        self._share_done = 0.0

    def open(self, identity: Mapping[str, Any], *, force: bool, resume: bool) -> Saved | None:
        """Start the run's folder, or find the state to resume from."""
        saved = None
        if resume:
            saved = self._folder.resume(identity, first=self._world.first)
            if saved is None:
                self._note(
                    f"{self._folder.path}: no state was saved before the interruption; the run starts again from step 0"
                )
        elif self._world.first:
            self._folder.begin(identity, force=force)
        if saved is not None:
            self._best, self._share_done = saved.best, saved.tensors["progress"]["share_done"]
            if self._best is not None and (self._output / PROVENANCE).is_file():
                self._written_step = int(self._best["step"])
        return saved

    def after_step(self, trainer: Trainer, settings: TrainingSettings) -> None:
        """Log the step. When an evaluation is due, measure, and write the checkpoint if it is the best so far."""
        progress = trainer.progress
        done, before = (int(share * settings.evaluations) for share in (progress.share_done, self._share_done))
        self._share_done = progress.share_done
        if not self._world.first:
            return
        if progress.step % LOG_EVERY == 0 or progress.share_done >= 1.0:
            self._folder.log({**progress.record(), "learning_rate": settings.rate(progress.share_done)})
        if self._held_out is not None and done > before:
            self._measure(trainer, self._held_out)

    def _measure(self, trainer: Trainer, held_out: HeldOut) -> None:
        score = held_out.score(trainer.model, self._world.device, trainer.precision, trainer.objective)
        step = trainer.progress.step
        self._folder.log({"step": step, **{f"held_out_{key}": value for key, value in score.record().items()}})
        if self._best is None or score.loss <= self._best["loss"]:
            self._best = {"step": step, **{k: v for k, v in score.record().items() if v is not None}}
            self._try(lambda: self._write_checkpoint(trainer, score), "the checkpoint")

    def save(self, trainer: Trainer, kept: Mapping[str, torch.Tensor], *, required: bool) -> None:
        """Save the state, and the checkpoint if no text is held out. If not ``required``, errors are only warnings."""
        if not self._world.first:
            return
        saved = Saved(place=trainer.feed.place, tensors={**trainer.state(), **kept}, best=self._best)
        if required:
            self._folder.save(saved)
        else:
            self._try(lambda: self._folder.save(saved), "the state")
        if self._held_out is None:
            self._try(lambda: self._write_checkpoint(trainer, None), "the checkpoint")

    def finish(self, trainer: Trainer, kept: Mapping[str, torch.Tensor]) -> None:
        """Write the last checkpoint if it is the best, and remove the run's folder. On failure the state is kept."""
        if not self._world.first:
            return
        if self._best is None or self._written_step != self._best["step"]:
            self._folder.save(Saved(place=trainer.feed.place, tensors={**trainer.state(), **kept}, best=self._best))
            self._write_checkpoint(trainer, None)
        self._folder.finish(self._output)

    def _write_checkpoint(self, trainer: Trainer, score: Score | None) -> None:
        model, progress = trainer.model, trainer.progress
        tensors = {name: tensor.numpy() for name, tensor in model.float_tensors().items()}
        done = {"steps": progress.step, "tokens": progress.tokens, "minutes": round(progress.elapsed_s / 60, 1)}
        with new_folder(self._output, force=True, marker="config.json") as folder:
            write_checkpoint(
                folder, model.config, tensors, self._tokenizer, dtype=self._dtype, embedding=self._embedding
            )
            held_out = score.record() if score else self._best
            write_json(
                folder / PROVENANCE,
                {**self._provenance, "precision": trainer.precision, "done": done, "held_out": held_out},
            )
        self._written_step = progress.step

    def _try(self, write: Callable[[], None], what: str) -> None:
        """Call ``write``. An error is only a warning, so that one failed save does not end the run."""
        try:
            write()
        except FileError as error:
            self._note(f"warning: {what} could not be written and will be tried again: {error.message}")
