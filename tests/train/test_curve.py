"""The picture of a run shows what its log says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bertedge.errors import FileError, UsageError
from bertedge.train.curve import check_curve_path, draw_curve
from tests.cli.test_cli import typed
from tests.conftest import DOCUMENTS

RECORDS = [
    {"step": step, "loss": 9 - step / 10, "mlm_accuracy": step / 100, "nsp_accuracy": 0.5, "learning_rate": 1e-3}
    for step in (10, 20, 30)
] + [{"step": 20, "held_out_loss": 7.5, "held_out_mlm_accuracy": 0.2, "held_out_nsp_accuracy": None}]


def texts(path: Path) -> str:
    """The words of a picture; matplotlib writes each as a comment next to its outlines."""
    return path.read_text(encoding="utf-8")


def test_every_curve_has_its_name(tmp_path: Path) -> None:
    draw_curve(RECORDS, tmp_path / "deep" / "curve.svg", "my-bert: training")
    ElementTree.parse(tmp_path / "deep" / "curve.svg")
    drawn = texts(tmp_path / "deep" / "curve.svg")
    for word in ("my-bert: training", "loss", "MLM accuracy", "NSP accuracy", "learning rate", "held out", "step"):
        assert f"<!-- {word} -->" in drawn


def test_a_log_of_nothing_is_an_empty_picture(tmp_path: Path) -> None:
    draw_curve([], tmp_path / "curve.png", "nothing")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_names_that_cannot_be_drawn() -> None:
    check_curve_path(Path("curve.PNG"))
    with pytest.raises(UsageError, match="cannot be drawn"):
        check_curve_path(Path("curve.txt"))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file: Not a directory"):
        draw_curve(RECORDS, tmp_path / "file" / "curve.svg", "")


def test_the_last_word_names_the_step_whose_weights_are_kept(model_folder: Path, tmp_path: Path) -> None:
    """With a learning rate that ruins the model, the first evaluation is the best."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(document) for document in DOCUMENTS * 8))
    schedule = (
        "--steps",
        20,
        "--set",
        "batch_size=2",
        "--set",
        "max_length=32",
        "--set",
        "learning_rate=1",
        "--set",
        "held_out=0.25",
    )
    done = typed("train", text, "-o", tmp_path / "ruined", "--init", model_folder, *schedule)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "ruined" / "training.json").read_text())["done"]["steps"]
    assert kept < 20
    assert done.stderr.splitlines()[-1] == (f"the weights are from step {kept}, the best on the held-out text")
