"""What the command line says of a sentence-transformers folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bertedge.cli.app import app
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
