"""``train`` and ``distill`` from files to a checkpoint folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bertedge.checkpoint import Checkpoint, open_checkpoint, trim_to_text
from bertedge.config import BertConfig
from bertedge.data.batches import Layout
from bertedge.data.cache import cached_corpus
from bertedge.data.corpus import Sentences, TokenizedCorpus
from bertedge.errors import CheckpointError, CorpusError, UsageError
from bertedge.records import check_replaceable, sha256
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import PROJECTION_BATCHES, DistillationSettings, distillation_objective, start_student
from bertedge.train.evaluate import HeldOut, hold_out
from bertedge.train.folder import METRICS, RunFolder, Saved, read_records
from bertedge.train.inputs import Feed
from bertedge.train.keeper import Keeper
from bertedge.train.loop import Objective, Progress, Trainer, pretraining_loss
from bertedge.train.model import BertForPreTraining
from bertedge.train.settings import BOOKKEEPING, TrainingSettings
from bertedge.train.stop import stop_requests
from bertedge.train.world import World, joined

Listener = Callable[[Progress], None]
Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes that a user picks for a new model; None means the usual one for its width, or its teacher's."""

    layers: int = 4
    hidden: int = 256
    heads: int | None = None
    vocab_size: int = 30522

    def config(self, vocab_size: int, max_positions: int = 512) -> BertConfig:
        """A BERT of this shape: heads about 32 or 64 wide, a feed-forward four times as wide as the model.

        Raises:
            UsageError: the heads do not divide the width.
        """
        usual = max(1, self.hidden // (32 if self.hidden <= 384 else 64))
        heads = self.heads or next(count for count in range(usual, 0, -1) if self.hidden % count == 0)
        if self.hidden % heads:
            raise UsageError(
                f"{heads} attention heads do not divide a width of {self.hidden}", "choose --heads that divide --hidden"
            )
        return BertConfig(
            vocab_size=vocab_size,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=max_positions,
        )


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where a run reads and writes.

    Attributes:
        corpus: the text; one sentence a line, a blank line between documents.
        output: the checkpoint folder to make.
        cache: where tokenized corpora are kept; None for the user's cache folder.
        dtype: how the checkpoint's weights are stored, ``float32`` or ``float16``.
        force: replace what is there.
        resume: go on with the interrupted run beside ``output``.
    """

    corpus: Path
    output: Path
    cache: Path | None = None
    dtype: str = "float32"
    force: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if not self.resume:  # fail now rather than after an hour of tokenizing
            check_replaceable(self.output, force=self.force, marker="config.json")


def train(
    corpus: Path,
    output: Path,
    settings: TrainingSettings,
    *,
    shape: ModelShape | None = None,
    init: str | Path | None = None,
    cache: Path | None = None,
    dtype: str = "float32",
    force: bool = False,
    resume: bool = False,
    on_step: Listener = lambda progress: None,
    note: Note = lambda text: None,
) -> Progress:
    """Pretrain a BERT on a corpus, from fresh weights or from a checkpoint, and write it to ``output``.

    Started by ``torchrun``, all processes train one model.

    Args:
        shape: sizes of a new model; None with ``init``.
        note: is told in words what a user should know.

    Returns:
        What was done; ``stopped`` tells that somebody interrupted the run, which can be resumed.
    """
    paths = Paths(corpus=corpus, output=output, cache=cache, dtype=dtype, force=force, resume=resume)
    with joined() as world:
        torch.manual_seed(settings.seed)
        start = open_checkpoint(init) if init is not None else None
        shape = shape or ModelShape()
        if start is not None:
            require_heads(start)
            tokenizer, model = start.tokenizer, BertForPreTraining.from_checkpoint(start)
        else:
            tokenizer = Tokenizer.train(Sentences(corpus), vocab_size=shape.vocab_size)
            model = BertForPreTraining(shape.config(tokenizer.vocab_size))
        described = {
            "kind": "pretraining",
            "init": start.name if start else None,
            "shape": None if start else asdict(shape),
        }
        run = _Run(paths, settings, world, tokenizer, described, note)
        return run.go(model, lambda saved: pretraining_loss, on_step)


def distill(
    teacher: str | Path,
    corpus: Path,
    output: Path,
    settings: TrainingSettings,
    *,
    shape: ModelShape | None = None,
    init: str | Path | None = None,
    distillation: DistillationSettings | None = None,
    keep_vocab: int | None = None,
    cache: Path | None = None,
    dtype: str = "float32",
    force: bool = False,
    resume: bool = False,
    on_step: Listener = lambda progress: None,
    note: Note = lambda text: None,
) -> Progress:
    """Make a smaller BERT that imitates ``teacher`` on a corpus, and write it to ``output``; see :func:`train`.

    Args:
        init: a student to go on with, instead of one that is projected from the teacher.
        keep_vocab: keep so many pieces of the teacher's vocabulary, those that the corpus uses most.
    """
    paths = Paths(corpus=corpus, output=output, cache=cache, dtype=dtype, force=force, resume=resume)
    distillation = distillation or DistillationSettings()
    if settings.dropout is None:  # the teacher's soft answers are regularisation enough
        settings = replace(settings, dropout=0.0)
    with joined() as world:
        torch.manual_seed(settings.seed)
        checkpoint = open_checkpoint(teacher)
        require_heads(checkpoint)
        if keep_vocab is not None:
            checkpoint, trim = trim_to_text(checkpoint, keep_vocab, corpus)
            note(f"vocabulary: {trim.pieces} pieces, {trim.coverage:.2%} of the corpus's pieces stay whole")
        big = BertForPreTraining.from_checkpoint(checkpoint).requires_grad_(False).to(world.device)
        described = {
            "kind": "distillation",
            "teacher": checkpoint.name,
            "init": str(init) if init else None,
            "shape": asdict(shape or ModelShape()),
            "keep_vocab": keep_vocab,
            "distillation": asdict(distillation),
        }
        run = _Run(paths, settings, world, checkpoint.tokenizer, described, note)
        student, projection = _student(run, big, checkpoint, shape or ModelShape(), init)

        def objective(saved: Saved | None) -> Objective:
            if saved is not None:
                projection.copy_(saved.tensors["projection"])
            return distillation_objective(big, student, projection, distillation)

        return run.go(student, objective, on_step, projection=projection)


def _student(
    run: _Run, teacher: BertForPreTraining, source: Checkpoint, shape: ModelShape, init: str | Path | None
) -> tuple[BertForPreTraining, torch.Tensor]:
    """The student at its start, and the projection that its hidden states are compared through."""
    config = shape.config(source.config.vocab_size, source.config.max_position_embeddings)
    if init is not None:
        given = open_checkpoint(init)
        require_heads(given)
        if given.tokenizer.vocabulary() != source.tokenizer.vocabulary():
            raise UsageError(
                f"{given.name}: has another vocabulary than its teacher {source.name}",
                "start from a student of this teacher, or without --init",
            )
        config = given.config
    settings = replace(run.settings, seed=run.settings.seed + 1, accumulate=1)  # the same sample in every process
    batches = Feed(run.corpus, run.layout, settings, World(device=run.device))
    projected, projection = start_student(
        teacher, config, (inputs for _ in range(PROJECTION_BATCHES) for inputs in batches.next())
    )
    return (projected if init is None else BertForPreTraining.from_checkpoint(given)), projection


def log_of(output: Path) -> list[dict[str, Any]]:
    """The log of a run, finished or not."""
    running = RunFolder.beside(output)
    return running.records() if running.path.is_dir() else read_records(output / METRICS)


def require_heads(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that lacks one of the heads.

    Raises:
        CheckpointError: it does.
    """
    missing = {"mlm", "nsp"} - set(checkpoint.heads)
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: has no {' and no '.join(sorted(missing))} head to learn with",
            "start from a checkpoint with both heads",
        )


class _Run:
    """One run from its corpus to its checkpoint, fresh or resumed, in one process of possibly many."""

    def __init__(
        self,
        paths: Paths,
        settings: TrainingSettings,
        world: World,
        tokenizer: Tokenizer,
        described: dict[str, Any],
        note: Note,
    ) -> None:
        self.paths, self.settings, self.world, self.tokenizer, self.note = paths, settings, world, tokenizer, note
        self.device = world.device
        with world.first_goes_first():
            whole = cached_corpus(paths.corpus, tokenizer, paths.cache)
        self._check_corpus(whole)
        self.corpus, held_out = hold_out(whole, settings.held_out, settings.seed)
        self.layout = Layout.of(tokenizer, tokenizer.vocab_size, whole_words=settings.whole_words)
        self.held_out = (
            HeldOut(held_out, self.layout, max_length=settings.max_length, seed=settings.seed) if held_out else None
        )
        if self.held_out is None and settings.held_out:
            note(f"{paths.corpus}: {whole.num_documents} documents are too few to hold any out; nothing is measured")
        self.provenance = {
            **described,
            "corpus": {
                "name": paths.corpus.name,
                "sha256": sha256(paths.corpus),
                "documents": whole.num_documents,
                "sentences": whole.num_sentences,
                "held_out_documents": held_out.num_documents if held_out else 0,
            },
            "settings": asdict(settings),
            "processes": world.size,
            "torch": str(torch.__version__),
        }

    def _check_corpus(self, whole: TokenizedCorpus) -> None:
        if len(whole.piece_ids) < self.settings.batch_size:
            raise CorpusError(f"{self.paths.corpus}: only {len(whole.piece_ids)} pieces of text", "give more text")
        if whole.num_documents < 2:
            self.note(
                f"{self.paths.corpus}: is one document, so there are no next sentences to tell from random ones; "
                "only masked words are learned (a blank line divides documents)"
            )

    def go(
        self,
        model: BertForPreTraining,
        objective: Callable[[Saved | None], Objective],
        on_step: Listener,
        **kept: torch.Tensor,
    ) -> Progress:
        """Train until the budget is used up or somebody asks to stop.

        Args:
            objective: makes the loss, given the saved state of a resumed run.
            kept: tensors that a resumed run takes over.
        """
        self._set_dropout(model)
        settings, world = self.settings, self.world
        if settings.batch_size < world.size * settings.accumulate:
            raise UsageError(
                f"{settings.batch_size} pairs in a step do not go round {world.size} processes x {settings.accumulate}",
                "raise --batch-size",
            )
        folder = RunFolder.beside(self.paths.output)
        keeper = Keeper(self.paths.output, folder, self.tokenizer, self.provenance, self.held_out, world, self.note)
        saved = keeper.open(self._identity(), dtype=self.paths.dtype, force=self.paths.force, resume=self.paths.resume)
        feed = Feed(self.corpus, self.layout, settings, world, saved.place if saved else None)
        trainer = Trainer(model, feed, objective(saved), settings, world)
        if saved is not None:
            trainer.load_state(saved.tensors)
            self.note(f"going on after step {trainer.progress.step}")
        saved_at = time.monotonic()
        with stop_requests() as asked:
            while trainer.progress.share_done < 1.0:
                trainer.step()
                keeper.after_step(trainer, settings)
                on_step(trainer.progress)
                stop = world.sums([asked()])[0] > 0
                if stop or time.monotonic() - saved_at > 60 * settings.save_minutes:
                    keeper.save(trainer, kept, required=stop)
                    saved_at = time.monotonic()
                if stop:
                    trainer.progress.stopped = True
                    return trainer.progress
        model.eval()
        keeper.finish(trainer, kept)
        return trainer.progress

    def _set_dropout(self, model: BertForPreTraining) -> None:
        """Train with the dropout that was asked for; the checkpoint keeps its own."""
        if self.settings.dropout is not None:
            model.set_dropout(self.settings.dropout)

    def _identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning."""
        settings = {key: value for key, value in asdict(self.settings).items() if key not in BOOKKEEPING}
        same = {key: value for key, value in self.provenance.items() if key not in ("processes", "torch", "settings")}
        return {**same, "tokenizer_sha256": self.tokenizer.sha256, "settings": settings}
