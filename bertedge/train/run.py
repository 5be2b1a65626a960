"""``train`` and ``distill`` from files to a checkpoint folder."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from bertedge.checkpoint import Checkpoint, open_checkpoint, trim_to_text
from bertedge.data.corpus import Sentences
from bertedge.errors import CheckpointError, UsageError
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import PROJECTION_BATCHES, DistillationSettings, distillation_objective, start_student
from bertedge.train.folder import METRICS, RunFolder, Saved, read_records
from bertedge.train.inputs import Feed
from bertedge.train.loop import Objective, Progress, pretraining_loss
from bertedge.train.model import BertForPreTraining
from bertedge.train.session import Listener, Note, Paths, Session
from bertedge.train.settings import TrainingSettings
from bertedge.train.shape import ModelShape
from bertedge.train.world import World, joined

__all__ = ["DistillationSettings", "ModelShape", "TrainingSettings", "distill", "log_of", "train"]

_log = logging.getLogger(__name__)


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
    note: Note = _log.info,
) -> Progress:
    """Pretrain a BERT on a corpus, from fresh weights or from a checkpoint, and write it to ``output``.

    Started by ``torchrun``, all processes train one model.

    Args:
        shape: sizes of a new model; None with ``init``.
        note: is told in words what a user should know; default: bertedge's logger.

    Returns:
        What was done; ``stopped`` tells that somebody interrupted the run, which can be resumed.
    """
    paths = Paths(corpus=corpus, output=output, cache=cache, dtype=dtype, force=force, resume=resume)
    with joined() as world, paths.claimed(world):
        torch.manual_seed(settings.seed)
        start = open_checkpoint(init) if init is not None else None
        shape = shape or ModelShape()
        if start is not None:
            tell_warnings(start, note)
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
        run = Session(paths, settings, world, tokenizer, described, note, start.embedding if start else None)
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
    note: Note = _log.info,
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
    with joined() as world, paths.claimed(world):
        torch.manual_seed(settings.seed)
        checkpoint = open_checkpoint(teacher)
        tell_warnings(checkpoint, note)
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
        run = Session(paths, settings, world, checkpoint.tokenizer, described, note, checkpoint.embedding)
        student, projection = _student(run, big, checkpoint, shape or ModelShape(), init)

        def objective(saved: Saved | None) -> Objective:
            if saved is not None:
                projection.copy_(saved.tensors["projection"])
            return distillation_objective(big, student, projection, distillation)

        return run.go(student, objective, on_step, projection=projection)


def _student(
    run: Session, teacher: BertForPreTraining, source: Checkpoint, shape: ModelShape, init: str | Path | None
) -> tuple[BertForPreTraining, torch.Tensor]:
    """The student at its start, and the projection that its hidden states are compared through."""
    config = shape.config(source.config.vocab_size, source.config.max_position_embeddings)
    if init is not None:
        given = open_checkpoint(init)
        tell_warnings(given, run.note)
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


def tell_warnings(checkpoint: Checkpoint, note: Note) -> None:
    """Say what of a checkpoint is not in what is trained from it, such as a classifier's tensors."""
    for warning in checkpoint.warnings:
        note(f"warning: {warning}")


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
