"""What the command line says of a sentence-transformers folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bertedge.cli.app import app
from bertedge.errors import UsageError
from bertedge.runtime import load
from tests.embedders import DENSE, NORMALIZE, TRANSFORMER, embedder_folder, pooling

typed = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, model_folder: Path) -> Path:
    """A model with prompts and a dense layer."""
    about = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}
    modules = [TRANSFORMER, pooling("cls"), DENSE, ("3_Normalize", NORMALIZE[1], None)]
    return embedder_folder(tmp_path / "m", model_folder, modules, transformer={"max_seq_length": 24}, about=about)


def test_export_and_info(folder: Path, tmp_path: Path) -> None:
    assert typed.invoke(app, ["export", str(folder), "-o", str(tmp_path / "b")]).exit_code == 0
    for model in (folder, tmp_path / "b"):
        said = " ".join(typed.invoke(app, ["info", str(model)]).stdout.split())
        assert "cls pooling, dense layer 32 to 8, tanh, scaled to length 1, up to 24 tokens" in said
        assert "prompt query (default): 'query: '" in said
        embedding = json.loads(typed.invoke(app, ["info", str(model), "--json"]).stdout)["embedding"]
        assert (embedding["pooling"], embedding["max_seq_length"]) == (["cls"], 24)


def test_info_of_other_models(model_folder: Path) -> None:
    assert "embedding" not in json.loads(typed.invoke(app, ["info", str(model_folder), "--json"]).stdout)


def test_embed(folder: Path, tmp_path: Path) -> None:
    bundle = str(tmp_path / "b")
    assert typed.invoke(app, ["export", str(folder), "-o", bundle]).exit_code == 0
    shown = typed.invoke(app, ["embed", bundle, "The cat sat.", "A ship."])
    assert [len(line.split()) for line in shown.stdout.splitlines()] == [8, 8]
    asked = ["--prompt", "", "--pooling", "mean", "--no-normalize", "--dimensions", "3", "--json"]
    vectors = json.loads(typed.invoke(app, ["embed", bundle, "The cat sat.", "A ship.", *asked]).stdout)
    expected = load(bundle).encode(["The cat sat.", "A ship."], prompt="", pooling="mean", normalize=False)
    assert np.allclose(vectors, expected[:, :3], atol=1e-6)
    tokens = typed.invoke(app, ["embed", bundle, "The cat sat.", "A ship.", "--pooling", "none"]).stdout.splitlines()
    assert [len(line.split()) for line in tokens].count(32) == len(tokens) - 1
    wrong = typed.invoke(app, ["embed", bundle, "A ship.", "--prompt-name", "passage"])
    assert isinstance(wrong.exception, UsageError)
