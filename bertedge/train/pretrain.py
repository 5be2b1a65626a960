"""``train``: pretrains a model on a corpus."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import torch

from bertedge.data.corpus import Sentences
from bertedge.encoders import encoder_of
from bertedge.tokenizer import Tokenizer
from bertedge.train.head_plan import nothing_to_train, plan_heads
from bertedge.train.loop import Progress, pretraining_loss
from bertedge.train.model import ALL_PARTS, BertForPreTraining
from bertedge.train.training_run import Listener, Note, Paths, TrainingRun, opened
from bertedge.train.training_settings import ModelShape, TrainingSettings
from bertedge.train.world import joined

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
    """Pretrain a BERT on a corpus, from new weights or from a checkpoint, and write it to ``output``.

    The heads of the checkpoint and the added heads are trained. A head that cannot be learned from the corpus, such as
    next sentences if every document is one sentence, is kept unchanged; a new model does not get it. ``training.json``
    says for each head whether it was trained. If ``torchrun`` started several processes, all train one model.

    Args:
        shape: sizes of a new model; not used with ``init``.
        add_heads: ``mlm`` or ``nsp``: heads to add if ``init`` lacks them.
        cased: whether the tokenizer keeps capital letters; default: what the files of ``init`` say, or False.
        note: called with notes for the user; default: bertedge's logger.

    Returns:
        The progress at the end. ``stopped`` is True if the run was interrupted and can be resumed.

    Raises:
        CheckpointError: ``init`` has no head to train.
        UsageError: an added head cannot be learned from the corpus.
    """
    corpus, shape = Path(corpus), shape or ModelShape()
    paths = Paths.of(corpus, output, cache, force=force, resume=resume)
    with joined() as world, paths.claimed(world):
        start = opened(init, cased, note) if init is not None else None
        if start is not None:
            encoder_of(start.config).require_trainable()
            tokenizer = start.tokenizer
        else:
            tokenizer = Tokenizer.train(Sentences(corpus), vocab_size=shape.vocab_size, lowercase=not cased)
        described = {
            "kind": "pretraining",
            "init": start.name if start else None,
            "shape": None if start else asdict(shape),
            **({"add_heads": sorted(add_heads)} if add_heads else {}),
        }
        run = TrainingRun(paths, settings, world, tokenizer, described, note, start.embedding if start else None)
        heads = plan_heads(start.parts if start else ALL_PARTS, add_heads, run.unteachable, fresh=start is None)
        if not heads.tasks:
            raise nothing_to_train(start.name if start else corpus.name, heads)
        torch.manual_seed(settings.seed)
        if start is not None:
            model = BertForPreTraining.from_checkpoint(start, heads.parts.heads)
        else:
            model = BertForPreTraining(shape.config(tokenizer.vocab_size), heads.parts)
        return run.go(model, heads, lambda saved: pretraining_loss, on_step)
