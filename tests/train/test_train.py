"""Training learns, distillation starts from its teacher, and both leave readable checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.config import BertConfig
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.errors import CheckpointError, FileError, TrainingError, UsageError
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import DistillationSettings, distillation_objective, start_student
from bertedge.train.loop import Progress, TrainingSettings, endless_batches, fit, pretraining_loss
from bertedge.train.model import BertForPreTraining
from bertedge.train.run import ModelShape, distill, train
from bertedge.train.student import layer_map

SETTINGS = TrainingSettings(steps=60, batch_size=8, max_length=32, learning_rate=3e-3, precision="float32")
SHAPE = ModelShape(layers=1, hidden=32, vocab_size=200)


def losses(corpus: Path, output: Path, **changes: object) -> list[float]:
    seen: list[float] = []
    train(corpus, output, replace(SETTINGS, **changes), shape=SHAPE, on_step=lambda p: seen.append(p.loss))  # type: ignore[arg-type]
    return seen


def test_the_loss_falls_and_the_checkpoint_reads(corpus_file: Path, tmp_path: Path) -> None:
    seen = losses(corpus_file, tmp_path / "out")
    assert len(seen) == 60
    assert seen[-1] < 0.9 * seen[0]  # a running mean, which lags behind
    checkpoint = Checkpoint.read(tmp_path / "out")
    assert checkpoint.heads == ("pooler", "mlm", "nsp")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_seed_fixes_everything(corpus_file: Path, tmp_path: Path) -> None:
    one = losses(corpus_file, tmp_path / "one", steps=4)
    two = losses(corpus_file, tmp_path / "two", steps=4)
    other = losses(corpus_file, tmp_path / "other", steps=4, seed=1)
    assert one == two != other
    first, second = (dict(Checkpoint.read(tmp_path / name).tensors()) for name in ("one", "two"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_loss_that_explodes_stops_the_run(config: BertConfig, corpus_file: Path, tokenizer: Tokenizer) -> None:
    model = BertForPreTraining(config)
    with torch.no_grad():
        model.cls.predictions.bias[0] = float("nan")
    data = tokenize_corpus(corpus_file, tokenizer)
    batches = endless_batches(data, Layout.of(tokenizer, config.vocab_size), SETTINGS, np.random.default_rng(0))
    with pytest.raises(TrainingError, match="nan at step 1"):
        fit(model, batches, pretraining_loss, SETTINGS, lambda progress: None)


def test_minutes_end_a_run(config: BertConfig, corpus_file: Path, tokenizer: Tokenizer) -> None:
    data = tokenize_corpus(corpus_file, tokenizer)
    settings = replace(SETTINGS, steps=None, minutes=0.01)
    batches = endless_batches(data, Layout.of(tokenizer, config.vocab_size), settings, np.random.default_rng(0))
    done = fit(BertForPreTraining(config), batches, pretraining_loss, settings, lambda progress: None)
    assert done.elapsed_s >= 0.6
    assert done.share_done == 1


def test_a_student_of_the_same_width_is_nearly_its_teacher(checkpoint: Checkpoint, corpus_file: Path) -> None:
    teacher = BertForPreTraining.from_checkpoint(checkpoint).eval()
    data = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    batches = endless_batches(data, layout, SETTINGS, np.random.default_rng(0))
    narrow = replace(checkpoint.config, hidden_size=24, intermediate_size=48, num_hidden_layers=1)
    student, projection = start_student(teacher, narrow, batches)
    assert projection.shape == (32, 24)
    assert torch.allclose(projection.T @ projection, torch.eye(24), atol=1e-4)
    inputs = next(batches)
    objective = distillation_objective(teacher, projection, DistillationSettings(), 1)
    with torch.no_grad():
        started = objective(inputs.run(student.eval()), inputs, 0.0)
        noise = objective(inputs.run(BertForPreTraining(narrow).eval()), inputs, 0.0)
    assert started < noise


def test_layers_are_spread_evenly() -> None:
    assert layer_map(6, 4) == [1, 2, 4, 5]
    assert layer_map(4, 4) == [0, 1, 2, 3]
    assert layer_map(12, 1) == [11]


def test_distill_from_a_folder(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    done = distill(model_folder, corpus_file, tmp_path / "student", SETTINGS, shape=SHAPE, dtype="float16")
    assert isinstance(done, Progress)
    assert Checkpoint.read(tmp_path / "student").config.num_hidden_layers == 1


def test_going_on_from_a_checkpoint(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    train(corpus_file, tmp_path / "more", replace(SETTINGS, steps=2), init=model_folder)
    assert Checkpoint.read(tmp_path / "more").config == Checkpoint.read(model_folder).config


def test_the_output_is_checked_before_the_work(model_folder: Path, corpus_file: Path) -> None:
    before = (model_folder / "config.json").read_bytes()
    with pytest.raises(FileError, match="already there"):
        train(corpus_file, model_folder, SETTINGS, shape=SHAPE)
    assert (model_folder / "config.json").read_bytes() == before


@pytest.mark.parametrize("bounds", [{"steps": None}, {"minutes": 1.0}, {"steps": -1}, {"max_length": 4}])
def test_settings_that_make_no_sense(bounds: dict) -> None:
    with pytest.raises(UsageError):
        replace(SETTINGS, **bounds)


def test_a_teacher_without_heads(config: BertConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path) -> None:
    from bertedge.checkpoint import write_checkpoint
    from tests.conftest import random_tensors

    (tmp_path / "bare").mkdir()
    write_checkpoint(tmp_path / "bare", config, random_tensors(config, ("pooler",)), tokenizer)
    with pytest.raises(CheckpointError, match="no mlm and no nsp head"):
        distill(tmp_path / "bare", corpus_file, tmp_path / "out", SETTINGS)
