"""A model that was trained from a sentence-transformers folder still says how its vectors are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.train.distill import distill
from bertedge.train.pretrain import train
from bertedge.train.training_settings import ModelShape, TrainingSettings
from tests.embedders import NORMALIZE, TRANSFORMER, embedder_folder, pooling

SETTINGS = TrainingSettings(steps=1, batch_size=8, max_length=32, precision="float32")


@pytest.mark.parametrize("verb", ["train", "distill"])
def test_the_settings_stay(verb: str, tmp_path: Path, model_folder: Path, corpus_file: Path) -> None:
    modules = [TRANSFORMER, pooling("cls"), NORMALIZE]
    about = {"prompts": {"query": "query: "}}
    folder = embedder_folder(tmp_path / "m", model_folder, modules, transformer={"max_seq_length": 24}, about=about)
    if verb == "train":
        train(corpus_file, tmp_path / "out", SETTINGS, init=folder)
    else:
        distill(folder, corpus_file, tmp_path / "out", SETTINGS, shape=ModelShape(layers=1, hidden=16, heads=2))
    written = Checkpoint.read(tmp_path / "out").embedding
    assert written is not None
    assert written == Checkpoint.read(folder).embedding
