"""``train`` and ``distill`` from files to a checkpoint folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertedge.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from bertedge.config import BertConfig
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus, read_documents, tokenize_corpus
from bertedge.errors import CheckpointError, CorpusError
from bertedge.records import new_folder, sha256, write_json
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import DistillationSettings, distillation_objective, start_student
from bertedge.train.loop import Objective, Progress, TrainingSettings, endless_batches, fit, pretraining_loss
from bertedge.train.model import BertForPreTraining

PROVENANCE = "training.json"
SAVE_EVERY_S = 600.0
Listener = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes that a user picks for a new model; None means the usual one for its width, or its teacher's."""

    layers: int = 4
    hidden: int = 256
    heads: int | None = None
    vocab_size: int = 30522

    def config(self, vocab_size: int, max_positions: int = 512) -> BertConfig:
        """A BERT of this shape: heads of width 32 or 64, a feed-forward four times as wide."""
        heads = self.heads or max(1, self.hidden // (32 if self.hidden <= 384 else 64))
        return BertConfig(
            vocab_size=vocab_size,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=max_positions,
        )


def train(
    corpus: Path,
    output: Path,
    settings: TrainingSettings,
    *,
    shape: ModelShape | None = None,
    init: str | Path | None = None,
    dtype: str = "float32",
    force: bool = False,
    on_step: Listener = lambda progress: None,
) -> Progress:
    """Pretrain a BERT on a corpus, from fresh weights or from a checkpoint, and write it to ``output``."""
    torch.manual_seed(settings.seed)
    shape = shape or ModelShape()
    if init is not None:
        checkpoint = open_checkpoint(init)
        _require_heads(checkpoint)
        tokenizer, model = checkpoint.tokenizer, BertForPreTraining.from_checkpoint(checkpoint)
    else:
        lines = chain.from_iterable(read_documents(corpus))
        tokenizer = Tokenizer.train(lines, vocab_size=shape.vocab_size)
        model = BertForPreTraining(shape.config(tokenizer.vocab_size))
    data = tokenize_corpus(corpus, tokenizer)
    rng = np.random.default_rng(settings.seed)
    batches = endless_batches(data, Layout.of(tokenizer, model.config.vocab_size), settings, rng)
    provenance = {"kind": "pretraining", "init": Path(init).name if init else None, **_source(corpus, data, settings)}
    writer = _Writer(output, model, tokenizer, provenance, dtype=dtype, force=force)
    return writer.finish(fit(model, batches, pretraining_loss, settings, writer.listen(on_step)))


def distill(
    teacher: str | Path,
    corpus: Path,
    output: Path,
    settings: TrainingSettings,
    *,
    shape: ModelShape | None = None,
    distillation: DistillationSettings | None = None,
    dtype: str = "float32",
    force: bool = False,
    on_step: Listener = lambda progress: None,
) -> Progress:
    """Make a smaller BERT that imitates ``teacher`` on a corpus, and write it to ``output``."""
    torch.manual_seed(settings.seed)
    distillation = distillation or DistillationSettings()
    checkpoint = open_checkpoint(teacher)
    _require_heads(checkpoint)
    big = BertForPreTraining.from_checkpoint(checkpoint).requires_grad_(False)
    tokenizer = checkpoint.tokenizer
    data = tokenize_corpus(corpus, tokenizer)
    rng = np.random.default_rng(settings.seed)
    batches = endless_batches(data, Layout.of(tokenizer, checkpoint.config.vocab_size), settings, rng)
    config = (shape or ModelShape()).config(checkpoint.config.vocab_size, checkpoint.config.max_position_embeddings)
    student, projection = start_student(
        big, replace(config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), batches
    )
    student.config = config
    objective: Objective = distillation_objective(big, projection, distillation, config.num_hidden_layers)
    provenance = {
        "kind": "distillation",
        "teacher": checkpoint.name,
        "distillation": asdict(distillation),
        **_source(corpus, data, settings),
    }
    writer = _Writer(output, student, tokenizer, provenance, dtype=dtype, force=force)
    return writer.finish(fit(student, batches, objective, settings, writer.listen(on_step)))


def _require_heads(checkpoint: Checkpoint) -> None:
    missing = {"mlm", "nsp"} - set(checkpoint.heads)
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: has no {' and no '.join(sorted(missing))} head to learn with",
            "start from a checkpoint with both heads",
        )


def _source(corpus: Path, data: TokenizedCorpus, settings: TrainingSettings) -> dict[str, Any]:
    """What went in, for the provenance."""
    if len(data.piece_ids) < settings.batch_size:
        raise CorpusError(f"{corpus}: only {len(data.piece_ids)} pieces of text", "give more text")
    return {
        "corpus": {
            "name": corpus.name,
            "sha256": sha256(corpus),
            "documents": data.num_documents,
            "sentences": data.num_sentences,
        },
        "settings": asdict(settings),
        "torch": str(torch.__version__),
    }


class _Writer:
    """Writes the checkpoint every few minutes and at the end, each time whole or not at all."""

    def __init__(
        self,
        output: Path,
        model: BertForPreTraining,
        tokenizer: Tokenizer,
        provenance: dict,
        *,
        dtype: str,
        force: bool,
    ) -> None:
        self.output, self.model, self.tokenizer, self.provenance = output, model, tokenizer, provenance
        self.dtype = dtype
        self.saved_at = time.monotonic()
        with new_folder(output, force=force, marker="config.json"):  # fail now rather than after an hour
            pass
        output.rmdir()

    def listen(self, on_step: Listener) -> Listener:
        """Pass progress on, and save when it is time."""

        def step(progress: Progress) -> None:
            on_step(progress)
            if time.monotonic() - self.saved_at > SAVE_EVERY_S:
                self.save(progress)

        return step

    def save(self, progress: Progress) -> None:
        tensors = {name: tensor.numpy() for name, tensor in self.model.float_tensors().items()}
        with new_folder(self.output, force=True, marker="config.json") as folder:
            write_checkpoint(folder, self.model.config, tensors, self.tokenizer, dtype=self.dtype)
            done = {"steps": progress.step, "tokens": progress.tokens, "minutes": round(progress.elapsed_s / 60, 1)}
            write_json(folder / PROVENANCE, {**self.provenance, "done": done})
        self.saved_at = time.monotonic()

    def finish(self, progress: Progress) -> Progress:
        self.save(progress)
        return progress
