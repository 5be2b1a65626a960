"""``train`` and ``distill`` from files to a checkpoint folder."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from bertedge.checkpoint import Checkpoint, open_checkpoint, trim_to_text
from bertedge.data.corpus import Sentences
from bertedge.encoders import encoder_of
from bertedge.errors import BertEdgeError, CheckpointError, UsageError
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import PROJECTION_BATCHES, distillation_objective, start_student
from bertedge.train.folder import METRICS, RunFolder, Saved, read_records
from bertedge.train.heads import HeadPlan, plan_heads
from bertedge.train.inputs import Feed
from bertedge.train.loop import Objective, Progress, pretraining_loss
from bertedge.train.model import ALL_PARTS, TASKS, BertForPreTraining
from bertedge.train.session import Listener, Note, Paths, Session
from bertedge.train.training_settings import DistillationSettings, ModelShape, TrainingSettings
from bertedge.train.world import World, joined

__all__ = ["DistillationSettings", "ModelShape", "TrainingSettings", "distill", "log_of", "train"]

_log = logging.getLogger(__name__)


def train(
    corpus: str | Path,
    output: str | Path,
    settings: TrainingSettings,
    *,
    shape: ModelShape | None = None,
    init: str | Path | None = None,
    add_heads: Collection[str] = (),
    cased: bool | None = None,
    cache: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    on_step: Listener = lambda progress: None,
    note: Note = _log.info,
) -> Progress:
    """Pretrain a BERT on a corpus, from fresh weights or from a checkpoint, and write it to ``output``.

    The heads that the checkpoint has are trained, and those that are added. A head that the corpus cannot teach, as
    next sentences where every document is one sentence, is kept as it was; a new model does without it. What became of
    each head is noted, and stands in ``training.json``. Started by ``torchrun``, all processes train one model.

    Args:
        shape: sizes of a new model; None with ``init``.
        add_heads: of ``mlm`` and ``nsp``: heads that the model gets where ``init`` lacks them.
        cased: whether the tokenizer keeps capital letters; default: what the files of ``init`` say, no for a new one.
        note: is told in words what a user should know; default: bertedge's logger.

    Returns:
        What was done; ``stopped`` tells that somebody interrupted the run, which can be resumed.

    Raises:
        CheckpointError: ``init`` has no head to train.
        UsageError: a head is added that the corpus cannot teach.
    """
    corpus, output, cache = Path(corpus), Path(output), Path(cache) if cache else None
    paths = Paths(corpus=corpus, output=output, cache=cache, force=force, resume=resume)
    with joined() as world, paths.claimed(world):
        start = open_checkpoint(init, cased=cased) if init is not None else None
        if start is not None:
            encoder_of(start.config).require_trainable()
        shape = shape or ModelShape()
        if start is not None:
            tell_warnings(start, note)
        tokenizer = (
            start.tokenizer
            if start
            else Tokenizer.train(Sentences(corpus), vocab_size=shape.vocab_size, lowercase=not cased)
        )
        described = {
            "kind": "pretraining",
            "init": start.name if start else None,
            "shape": None if start else asdict(shape),
            **({"add_heads": sorted(add_heads)} if add_heads else {}),
        }
        run = Session(paths, settings, world, tokenizer, described, note, start.embedding if start else None)
        heads = plan_heads(start.parts if start else ALL_PARTS, add_heads, run.unteachable, fresh=start is None)
        if not heads.tasks:
            raise _nothing_to_train(start.name if start else corpus.name, heads)
        torch.manual_seed(settings.seed)
        if start is not None:
            model = BertForPreTraining.from_checkpoint(start, heads.parts.heads)
        else:
            model = BertForPreTraining(shape.config(tokenizer.vocab_size), heads.parts)
        return run.go(model, heads, lambda saved: pretraining_loss, on_step)


def distill(
    teacher: str | Path,
    corpus: str | Path,
    output: str | Path,
    settings: TrainingSettings,
    *,
    shape: ModelShape | None = None,
    init: str | Path | None = None,
    distillation: DistillationSettings | None = None,
    keep_vocab: int | None = None,
    add_heads: Collection[str] = (),
    cased: bool | None = None,
    cache: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    on_step: Listener = lambda progress: None,
    note: Note = _log.info,
) -> Progress:
    """Make a smaller BERT that imitates ``teacher`` on a corpus, and write it to ``output``; see :func:`train`.

    The student gets the heads of its teacher that the corpus can teach. Of a teacher without heads it learns hidden
    states, and self-attention relations if they have a weight.

    Args:
        init: a student to go on with, instead of one that is projected from the teacher.
        keep_vocab: keep this many tokens of the teacher's vocabulary, those that the corpus uses most.
        add_heads: heads that the student gets though its teacher has none; it learns them from the text.
        cased: whether the teacher's tokenizer keeps capital letters; default: what its files say.
    """
    corpus, output, cache = Path(corpus), Path(output), Path(cache) if cache else None
    paths = Paths(corpus=corpus, output=output, cache=cache, force=force, resume=resume)
    distillation = distillation or DistillationSettings()
    if settings.dropout is None:  # the teacher's soft answers are regularisation enough
        settings = replace(settings, dropout=0.0)
    with joined() as world, paths.claimed(world):
        checkpoint = open_checkpoint(teacher, cased=cased)
        tell_warnings(checkpoint, note)
        if keep_vocab is not None:
            checkpoint, trim = trim_to_text(checkpoint, keep_vocab, corpus)
            note(f"vocabulary: {trim.tokens} tokens, {100 * trim.coverage:.2f} % of the corpus's tokens stay whole")
        described = {
            "kind": "distillation",
            "teacher": checkpoint.name,
            "init": str(init) if init else None,
            "shape": asdict(shape or ModelShape()),
            "keep_vocab": keep_vocab,
            "distillation": asdict(distillation),
            **({"add_heads": sorted(add_heads)} if add_heads else {}),
        }
        run = Session(paths, settings, world, checkpoint.tokenizer, described, note, checkpoint.embedding)
        given = _given_student(init, checkpoint, note) if init is not None else None
        heads = _student_heads(checkpoint, given, add_heads, run.unteachable, distillation)
        torch.manual_seed(settings.seed)
        big = BertForPreTraining.from_checkpoint(checkpoint).requires_grad_(False).to(world.device)
        student, projection = _student(run, big, checkpoint, shape or ModelShape(), given, heads)
        big.train_only(heads.tasks)

        def objective(saved: Saved | None) -> Objective:
            if saved is not None:
                projection.copy_(saved.tensors["projection"])
            return distillation_objective(big, student, projection, distillation)

        return run.go(student, heads, objective, on_step, projection=projection)


def _given_student(init: str | Path, teacher: Checkpoint, note: Note) -> Checkpoint:
    """The student to go on with."""
    given = open_checkpoint(init)
    encoder_of(given.config).require_trainable()
    tell_warnings(given, note)
    if given.tokenizer.vocabulary() != teacher.tokenizer.vocabulary():
        raise UsageError(
            f"{given.name}: has another vocabulary than its teacher {teacher.name}",
            "start from a student of this teacher, or without --init",
        )
    return given


def _student_heads(
    teacher: Checkpoint,
    given: Checkpoint | None,
    add: Collection[str],
    unteachable: Mapping[str, str],
    weights: DistillationSettings,
) -> HeadPlan:
    """What becomes of a student's heads; a head that its teacher lacks is learned from the text alone."""
    cannot = dict(unteachable)
    for task in TASKS:
        taught = weights.labels_weight or (weights.logits_weight and task in teacher.heads)
        if not taught:
            cannot.setdefault(task, "neither the text nor the teacher's answers have a weight for it")
    there = given.parts if given else replace(teacher.parts, tied=True)
    heads = plan_heads(there, add, cannot, fresh=given is None)
    unused = teacher.parts.pooler and not any(head.needs_pooler for head in teacher.parts.rows)
    if given is None and unused and not heads.parts.pooler:
        heads.told["pooler"] = "left out: a pooler without a next-sentence head is not distilled"
    if not heads.tasks and not (weights.hidden_weight or weights.relations_weight):
        raise _nothing_to_train(teacher.name, heads)
    return heads


def _student(
    run: Session,
    teacher: BertForPreTraining,
    source: Checkpoint,
    shape: ModelShape,
    given: Checkpoint | None,
    heads: HeadPlan,
) -> tuple[BertForPreTraining, torch.Tensor]:
    """The student at its start, and the projection that its hidden states are compared through."""
    config = given.config if given else shape.config(source.config.vocab_size, source.config.max_length)
    settings = replace(run.settings, seed=run.settings.seed + 1, accumulate=1)  # the same sample in every process
    batches = Feed(run.corpus, run.layout, settings, World(device=run.device))
    projected, projection = start_student(
        teacher, config, (inputs for _ in range(PROJECTION_BATCHES) for inputs in batches.next()), heads.parts
    )
    return (projected if given is None else BertForPreTraining.from_checkpoint(given, heads.parts.heads)), projection


def log_of(output: Path) -> list[dict[str, Any]]:
    """The log of a run, finished or not."""
    running = RunFolder.beside(output)
    return running.records() if running.path.is_dir() else read_records(output / METRICS)


def tell_warnings(checkpoint: Checkpoint, note: Note) -> None:
    """Say what of a checkpoint is not in what is trained from it, such as a classifier's tensors."""
    for warning in checkpoint.warnings:
        note(f"warning: {warning}")


def _nothing_to_train(name: str, heads: HeadPlan) -> BertEdgeError:
    """Why a run has nothing to do."""
    if not heads.told:
        return CheckpointError(
            f"{name}: has no head to train",
            "add one: --add-head mlm learns masked words, --add-head nsp next sentences",
        )
    reasons = "; ".join(f"{head}: {words}" for head, words in heads.told.items())
    return UsageError(f"{name}: nothing can be trained ({reasons})", "give another text, or other weights")
