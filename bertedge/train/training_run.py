"""A training run from corpus to checkpoint, new or resumed, in one or several processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.cache import cached_corpus
from bertedge.data.corpus import TokenizedCorpus, layout_of
from bertedge.data.coverage import share_of_walk
from bertedge.errors import BertEdgeError, CorpusError, FileError, UsageError
from bertedge.files import check_replaceable
from bertedge.heads import HEADS, TASKS
from bertedge.pooling import EmbeddingSettings
from bertedge.scratch import settle
from bertedge.tokenizer import Tokenizer
from bertedge.train.folder import BROKEN, RunFolder, Saved
from bertedge.train.head_plan import HeadPlan, sentences, why_no_next_sentences
from bertedge.train.inputs import Feed
from bertedge.train.keeper import Keeper
from bertedge.train.loop import Objective, Progress, Trainer
from bertedge.train.model import BertForPreTraining
from bertedge.train.stop import stop_requests
from bertedge.train.training_settings import BOOKKEEPING, TrainingSettings
from bertedge.train.validation import HeldOut, hold_out_documents
from bertedge.train.world import World

Listener = Callable[[Progress], None]
Note = Callable[[str], None]


def opened(model: str | Path, cased: bool | None, note: Note) -> Checkpoint:
    """Open a checkpoint; notes say which of its tensors are not trained, such as a classifier's."""
    checkpoint = open_checkpoint(model, cased=cased)
    for warning in checkpoint.warnings:
        note(f"warning: {warning}")
    return checkpoint


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where a run reads and writes.

    Attributes:
        corpus: the text; one sentence a line, a blank line between documents.
        output: the checkpoint folder to make.
        cache: the folder of tokenized corpora; None for the user's cache folder.
        force: replace an existing output or run.
        resume: continue the interrupted run next to ``output``.
    """

    corpus: Path
    output: Path
    cache: Path | None = None
    force: bool = False
    resume: bool = False

    @classmethod
    def of(
        cls, corpus: str | Path, output: str | Path, cache: str | Path | None, *, force: bool, resume: bool
    ) -> Paths:
        """The paths that a user gave."""
        return cls(
            corpus=Path(corpus), output=Path(output), cache=Path(cache) if cache else None, force=force, resume=resume
        )

    @contextmanager
    def claimed(self, world: World) -> Iterator[None]:
        """Lock the output against other runs. Errors come before the corpus is tokenized.

        Raises:
            FileError: another process is training there, or the output exists and may not be replaced.
        """
        refused: BertEdgeError | None = None
        with ExitStack() as claims:
            if world.first:
                try:
                    claims.enter_context(self._claim())
                except BertEdgeError as error:
                    refused = error
            if not world.from_first(
                float(refused is None)
            ):  # otherwise the other processes would wait for process 0, which has ended
                raise refused or FileError(f"{self.output}: process 0 cannot use it", "see what process 0 says")
            yield

    @contextmanager
    def _claim(self) -> Iterator[None]:
        run = RunFolder.next_to(self.output)
        with run.alone():
            settle(Path(os.path.realpath(self.output)))
            if not self.resume:
                if not self.force:
                    run.require_none()
                check_replaceable(self.output, force=self.force, marker="config.json")
            yield


class TrainingRun:
    """A run that has read its corpus. :meth:`go` trains.

    Args:
        described: the description of the run, for ``training.json`` and to resume it.
        note: called with notes for the user.
        embedding: how the model makes vectors, if its first checkpoint defines it.
    """

    def __init__(
        self,
        paths: Paths,
        settings: TrainingSettings,
        world: World,
        tokenizer: Tokenizer,
        described: dict[str, Any],
        note: Note,
        embedding: EmbeddingSettings | None = None,
    ) -> None:
        self.paths, self.settings, self.world, self.tokenizer, self.note = paths, settings, world, tokenizer, note
        self.device, self.embedding = world.device, embedding
        with world.first_goes_first():
            whole = cached_corpus(paths.corpus, tokenizer, paths.cache)
        if len(whole.token_ids) < settings.batch_size:
            raise CorpusError(f"{paths.corpus}: only {len(whole.token_ids)} tokens of text", "give more text")
        self.corpus, held_out = hold_out_documents(whole, settings.held_out, settings.seed)
        read = share_of_walk(self.corpus, max_length=settings.max_length, seed=settings.seed)
        note(
            f"{paths.corpus}: {layout_of(paths.corpus)}; {whole.num_documents:,} documents, "
            f"{whole.num_sentences:,} sentences, {len(whole.token_ids):,} tokens; "
            f"one pass reads {100 * read:.0f} % of them"
        )
        self.layout = Layout.of(tokenizer, tokenizer.vocab_size, whole_words=settings.whole_words)
        self.held_out = (
            HeldOut(held_out, self.layout, max_length=settings.max_length, seed=settings.seed) if held_out else None
        )
        if self.held_out is None and settings.held_out:
            note(
                f"{paths.corpus}: {whole.num_documents} documents are too few to hold some out, so nothing is measured"
            )
        self.provenance = {**described, **self._provenance(whole, held_out, read)}

    def _provenance(self, whole: TokenizedCorpus, held_out: TokenizedCorpus | None, read: float) -> dict[str, Any]:
        """The part of ``training.json`` that every run has."""
        return {
            "corpus": {
                "name": self.paths.corpus.name,
                "sha256": whole.text_sha256,
                "documents": whole.num_documents,
                "sentences": whole.num_sentences,
                "tokens": len(whole.token_ids),
                "share_read_in_a_walk": round(read, 3),
                "held_out_documents": held_out.num_documents if held_out else 0,
            },
            "settings": asdict(self.settings),
            "processes": self.world.size,
            "torch": str(torch.__version__),
        }

    @cached_property
    def unteachable(self) -> dict[str, str]:
        """Task -> why it cannot be learned from the corpus, in words."""
        reason = why_no_next_sentences(self.corpus, self.settings.max_length)
        if reason is None:
            return {}
        return {task: f"{self.paths.corpus.name} {reason}" for task in TASKS if HEADS[task].reads == "pair"}

    def go(
        self,
        model: BertForPreTraining,
        heads: HeadPlan,
        objective: Callable[[Saved | None], Objective],
        on_step: Listener,
        **kept: torch.Tensor,
    ) -> Progress:
        """Train until the budget is used up or the user interrupts.

        Args:
            heads: which heads are trained.
            objective: makes the loss; it gets the saved state of a resumed run.
            kept: tensors to save for a resumed run.
        """
        settings, world = self.settings, self.world
        if settings.dropout is not None:  # for training only; the checkpoint keeps the value of its config.json
            model.set_dropout(settings.dropout)
        model.train_only(heads.tasks)
        for line in sentences(heads.decisions):
            self.note(line)
        if settings.batch_size < world.size * settings.accumulate:
            raise UsageError(
                f"batch_size is {settings.batch_size}, less than {world.size} processes x {settings.accumulate} parts",
                "raise batch_size",
            )
        keeper = Keeper(
            self.paths.output,
            RunFolder.next_to(self.paths.output),
            self.tokenizer,
            {**self.provenance, "heads": heads.decisions},
            self.held_out,
            world,
            self.note,
            dtype=settings.dtype,
            embedding=self.embedding,
        )
        saved = keeper.open(self._identity(), force=self.paths.force, resume=self.paths.resume)
        feed = Feed(self.corpus, self.layout, settings, world, saved.place if saved else None)
        trainer = Trainer(model, feed, objective(saved), settings, world)
        if saved is not None:
            self._load(trainer, saved)
        return self._learn(trainer, keeper, on_step, kept)

    def _load(self, trainer: Trainer, saved: Saved) -> None:
        """Continue from a saved state."""
        try:
            trainer.load_state(saved.tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # torch can raise each of these
            folder = RunFolder.next_to(self.paths.output).path
            raise FileError(f"{folder}: has the state of another model", BROKEN) from error
        self.note(f"continuing after step {trainer.progress.step}")

    def _learn(self, trainer: Trainer, keeper: Keeper, on_step: Listener, kept: Mapping[str, torch.Tensor]) -> Progress:
        """Run the steps, and save in between."""
        saved_at = time.monotonic()
        with stop_requests() as asked:
            while trainer.progress.share_done < 1.0:
                trainer.step()
                keeper.after_step(trainer, self.settings)
                on_step(trainer.progress)
                stop = self.world.sums([asked()])[0] > 0
                if stop or time.monotonic() - saved_at > 60 * self.settings.save_minutes:
                    keeper.save(trainer, kept, required=stop)
                    saved_at = time.monotonic()
                if stop:
                    trainer.progress.stopped = True
                    return trainer.progress
        trainer.model.eval()
        keeper.finish(trainer, kept)
        return trainer.progress

    def _identity(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the interrupted run."""
        settings = {key: value for key, value in asdict(self.settings).items() if key not in BOOKKEEPING}
        same = {key: value for key, value in self.provenance.items() if key not in ("processes", "torch", "settings")}
        return {**same, "tokenizer_sha256": self.tokenizer.sha256, "settings": settings}
