"""``distill``: makes a smaller checkpoint from a teacher and a corpus."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch

from bertedge.checkpoint import Checkpoint, trim_to_text
from bertedge.encoders import encoder_of
from bertedge.errors import UsageError
from bertedge.heads import TASKS
from bertedge.train.distillation_loss import PROJECTION_BATCHES, distillation_objective, start_student
from bertedge.train.folder import Saved
from bertedge.train.graph_teacher import GraphTeacher
from bertedge.train.head_plan import HeadPlan, nothing_to_train, plan_heads
from bertedge.train.inputs import Feed
from bertedge.train.loop import Objective, Progress
from bertedge.train.model import BertForPreTraining
from bertedge.train.student import Teacher
from bertedge.train.training_run import Listener, Note, Paths, TrainingRun, opened
from bertedge.train.training_settings import DistillationSettings, ModelShape, TrainingSettings
from bertedge.train.world import World, joined

_log = logging.getLogger(__name__)


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

    The teacher may be of any family. The student is a BERT with its tokenizer.

    The student gets the heads of its teacher that the corpus can teach. From a teacher without heads, it learns hidden
    states, and self-attention relations if their weight is above 0.

    Args:
        init: a student to start from; default: a projection of the teacher.
        keep_vocab: keep only this many tokens of the teacher's vocabulary, the most frequent in the corpus.
        add_heads: heads to add to the student even if its teacher lacks them; they are learned from the text.
        cased: whether the teacher's tokenizer keeps capital letters; default: what its files say.
    """
    paths = Paths.of(corpus, output, cache, force=force, resume=resume)
    weights, shape = distillation or DistillationSettings(), shape or ModelShape()
    if settings.dropout is None:  # the teacher's soft answers regularise enough
        settings = replace(settings, dropout=0.0)
    with joined() as world, paths.claimed(world):
        source = opened(teacher, cased, note)
        if keep_vocab is not None:
            source, trim = trim_to_text(source, keep_vocab, paths.corpus)
            note(f"vocabulary: {trim.tokens} tokens, {100 * trim.coverage:.2f} % of the corpus's tokens stay whole")
        described = {
            "kind": "distillation",
            "teacher": source.name,
            "init": str(init) if init else None,
            "shape": asdict(shape),
            "keep_vocab": keep_vocab,
            "distillation": asdict(weights),
            **({"add_heads": sorted(add_heads)} if add_heads else {}),
        }
        run = TrainingRun(paths, settings, world, source.tokenizer, described, note, source.embedding)
        given = _given_student(init, source, note) if init is not None else None
        heads = _student_heads(source, given, add_heads, run.unteachable, weights)
        return _imitate(run, source, shape, given, heads, weights, on_step)


def _imitate(
    run: TrainingRun,
    source: Checkpoint,
    shape: ModelShape,
    given: Checkpoint | None,
    heads: HeadPlan,
    weights: DistillationSettings,
    on_step: Listener,
) -> Progress:
    """Train a student against its teacher."""
    torch.manual_seed(run.settings.seed)
    teacher = _teacher(source, run)
    student, projection = _student(run, teacher, source, shape, given, heads)
    teacher.train_only(heads.tasks)

    def objective(saved: Saved | None) -> Objective:
        if saved is not None:
            projection.copy_(saved.tensors["projection"])
        return distillation_objective(teacher, student, projection, weights)

    return run.go(student, heads, objective, on_step, projection=projection)


def _teacher(source: Checkpoint, run: TrainingRun) -> Teacher:
    """A BERT in torch, a model of another family as its float graph."""
    if encoder_of(source.config).trainable:
        return BertForPreTraining.from_checkpoint(source).requires_grad_(False).to(run.device)
    return GraphTeacher(source)


def _given_student(init: str | Path, teacher: Checkpoint, note: Note) -> Checkpoint:
    """The student to start from."""
    given = opened(init, None, note)
    encoder_of(given.config).require_trainable()
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
    """Which heads of a student are trained. A head that its teacher lacks is learned from the text alone."""
    cannot = dict(unteachable)
    for task in TASKS:
        taught = weights.labels_weight or (weights.logits_weight and task in teacher.heads)
        if not taught:
            cannot.setdefault(task, "its loss has no weight: see labels_weight and logits_weight")
    there = given.parts if given else replace(teacher.parts, tied=True)
    heads = plan_heads(there, add, cannot, fresh=given is None)
    unused = teacher.parts.pooler and not any(head.needs_pooler for head in teacher.parts.rows)
    if given is None and unused and not heads.parts.pooler:
        heads.decisions["pooler"] = "left out: a pooler without a next-sentence head is not distilled"
    if not heads.tasks and not (weights.hidden_weight or weights.relations_weight):
        raise nothing_to_train(teacher.name, heads)
    return heads


def _student(
    run: TrainingRun,
    teacher: Teacher,
    source: Checkpoint,
    shape: ModelShape,
    given: Checkpoint | None,
    heads: HeadPlan,
) -> tuple[BertForPreTraining, torch.Tensor]:
    """The untrained student, and the projection used to compare its hidden states with the teacher's."""
    new = shape.config(source.config.vocab_size, source.config.max_length)
    config = given.config if given else replace(new, pad_token_id=source.config.pad_token_id)
    settings = replace(run.settings, seed=run.settings.seed + 1, accumulate=1)  # all processes need the same sample
    batches = Feed(run.corpus, run.layout, settings, World(device=run.device))
    projected, projection = start_student(
        teacher, config, (inputs for _ in range(PROJECTION_BATCHES) for inputs in batches.next()), heads.parts
    )
    return (projected if given is None else BertForPreTraining.from_checkpoint(given, heads.parts.heads)), projection
