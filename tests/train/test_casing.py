"""Casing that is set for a training is that of the model that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.train.distill import distill
from bertedge.train.pretrain import train
from bertedge.train.training_settings import ModelShape, TrainingSettings
from tests.tokenizer_folders import theirs

SETTINGS = TrainingSettings(steps=1, batch_size=8, max_length=32, precision="float32")
SHAPE = ModelShape(layers=1, hidden=16, heads=2, vocab_size=150)


@pytest.mark.parametrize("how", ["new", "init", "distill"])
@pytest.mark.parametrize("cased", [None, True])
def test_casing_is_set(how: str, cased: bool | None, tmp_path: Path, model_folder: Path, corpus_file: Path) -> None:
    output = tmp_path / "out"
    if how == "distill":
        distill(model_folder, corpus_file, output, SETTINGS, shape=SHAPE, cased=cased)
    elif how == "init":
        train(corpus_file, output, SETTINGS, init=model_folder, cased=cased)
    else:
        train(corpus_file, output, SETTINGS, shape=SHAPE, cased=cased)
    tokenizer = Checkpoint.read(output).tokenizer
    assert tokenizer.lowercases is not cased
    texts = ["The cat", "the CAT"]
    assert theirs(output, texts) == [encoding.input_ids for encoding in tokenizer.encode_many(texts)]
