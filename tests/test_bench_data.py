"""``bench --data``: the main numbers are measured on the texts of a task, with their labels or without."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from bertedge.benchmark import bench
from bertedge.bundle import Bundle
from bertedge.checkpoint import write_checkpoint
from bertedge.cli.app import app
from bertedge.encoders import EncoderConfig
from bertedge.errors import BertEdgeError, CorpusError, UsageError
from bertedge.evaluate.goals import Goal
from bertedge.heads.parts import Parts
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.report.render import markdown_report
from bertedge.report.words import about_corpus
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from bertedge.tuning.search import tune
from bertedge.tuning.tuning_settings import TuneSettings
from tests.conftest import DOCUMENTS, random_tensors
from tests.test_benchmark import QUICK

HEAD = "sequence_classification"
SENTENCES = [sentence.replace(",", "") for document in DOCUMENTS for sentence in document]
ALL = replace(QUICK, examples=None)


@pytest.fixture(scope="module")
def folder(config: EncoderConfig, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that fills in words as well, its int8 bundle, and texts with float's own labels."""
    folder = tmp_path_factory.mktemp("classifier")
    float_model = folder / "float"
    float_model.mkdir()
    write_checkpoint(float_model, config, random_tensors(config, Parts(("mlm",), pooler=True)), tokenizer)
    said = json.loads((float_model / "config.json").read_text())
    said |= {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "sea", "1": "land", "2": "air"}}
    (float_model / "config.json").write_text(json.dumps(said))
    weights = float_model / "model.safetensors"
    rows = np.random.default_rng(0).normal(size=(3, config.hidden_size)).astype(np.float32)
    save_file({**load_file(weights), "classifier.weight": rows, "classifier.bias": rows[:, 0]}, weights)
    texts = [f"{first} {second}" for first in SENTENCES for second in SENTENCES[:4]]
    runtime = load(export(folder / "float", folder / "exported").folder, threads=1)
    lines = [f"{text},{answer.label}" for text, answer in zip(texts, runtime.classify(texts), strict=True)]
    (folder / "all.csv").write_text("body,intent\n" + "\n".join(lines) + "\n")
    (folder / "half.csv").write_text("text,label\n" + "\n".join([*lines[:20], *(f"{text}," for text in texts[20:40])]))
    recipe = QuantizationRecipe(method=Static(examples=4))
    quantize(folder / "float", folder / "int8", recipe=recipe, calibration=folder / "all.csv", columns=["body"])
    return folder


def test_labels_that_are_floats_own_are_all_right(folder: Path) -> None:
    report = bench(
        [folder / "int8"], reference=folder / "float", data=folder / "all.csv", columns=["body"], settings=ALL
    )
    (row,) = report.candidates
    texts = 4 * len(SENTENCES)
    assert (report.corpus.kind, report.corpus.examples, report.corpus.labelled) == ("labelled texts", texts, 1)
    assert report.corpus.columns == "text from column 'body', label from column 'intent'"
    agreement, accuracy = (row.fidelity[f"{HEAD}.{name}"] for name in ("label_agreement", "accuracy"))
    assert accuracy == agreement
    assert accuracy.n == texts
    assert row.fidelity[f"{HEAD}.accuracy_drop"].value == pytest.approx(1 - accuracy.value)
    assert "mlm.kl_mean" not in row.fidelity  # masks would change the texts
    assert [kind.kind for kind in row.by_kind] == ["single texts"]
    assert "mlm.kl_mean" in row.by_kind[0].fidelity
    lengths = [entry.max_length for entry in row.by_length]
    assert lengths == sorted(lengths)
    assert sum(entry.texts for entry in row.by_length) == texts
    by_length = sum(entry.texts * entry.fidelity[f"{HEAD}.accuracy"].value for entry in row.by_length)
    assert by_length / texts == pytest.approx(accuracy.value)


def test_some_rows_have_no_label(folder: Path) -> None:
    report = bench([folder / "int8"], reference=folder / "float", data=folder / "half.csv", settings=ALL)
    fidelity = report.candidates[0].fidelity
    assert report.corpus.labelled == 0.5
    facts = dict(about_corpus(report))
    assert (facts["kind"], facts["with a right answer"]) == ("labelled texts", "50.0\N{NO-BREAK SPACE}%")
    assert facts["columns"] == "text from column 'text', label from column 'label'"
    assert "40 labelled texts of up to" in markdown_report(report, ())
    assert [fidelity[f"{HEAD}.{name}"].n for name in ("label_agreement", "accuracy")] == [40, 20]


def test_a_model_that_fills_in_words_gets_masked_texts(
    folder: Path, bundle_of: Callable[..., Bundle], model_folder: Path
) -> None:
    (folder / "lines.txt").write_text("\n".join(SENTENCES))
    report = bench([bundle_of("static").folder], reference=model_folder, data=folder / "lines.txt", settings=ALL)
    assert (report.corpus.kind, report.corpus.labelled) == ("unlabelled texts", 0)
    assert report.corpus.examples == len(SENTENCES)
    row = report.candidates[0]
    assert row.fidelity["mlm.kl_mean"].n >= len(SENTENCES)
    assert np.isfinite(row.fidelity["embedding.cosine_mean"].value)
    assert [kind.kind for kind in row.by_kind] == ["pairs", "single texts"]


def test_goals_are_measured_on_rows_that_calibration_did_not_read(folder: Path, tmp_path: Path) -> None:
    goals = [Goal(option="min_label_agreement", bound=0.5), Goal(option="max_accuracy_drop", bound=0.9)]
    bundle = quantize(
        folder / "float",
        tmp_path / "goal",
        calibration=folder / "all.csv",
        columns=["body", "label=intent"],
        recipe=QuantizationRecipe(method=Static(examples=4)),
        goals=goals,
    )
    reached = bundle.manifest.goals
    assert {name: goal.met for name, goal in reached.items()} == {
        "min_label_agreement": True,
        "max_accuracy_drop": True,
    }
    assert reached["max_accuracy_drop"].n == round(4 * len(SENTENCES) / 4)


def test_one_row_is_enough_to_calibrate(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The cat sat.")
    bundle = quantize(folder / "float", tmp_path / "b", calibration=tmp_path / "one.txt")
    assert any("has 4 tokens" in warning for warning in bundle.manifest.warnings)
    assert verify(load(bundle.folder, threads=1)).passed


def test_a_goal_for_right_labels_needs_labels(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("\n".join(SENTENCES))
    goals = [Goal(option="max_accuracy_drop", bound=0.1)]
    recipe = QuantizationRecipe(method=Static(examples=4))
    with pytest.raises(UsageError, match=r"--max-accuracy-drop: plain\.txt gives no .*accuracy_drop"):
        quantize(folder / "float", tmp_path / "b", calibration=tmp_path / "plain.txt", recipe=recipe, goals=goals)
    assert not (tmp_path / "b").exists()


def test_tune_measures_the_same_texts(folder: Path, tmp_path: Path) -> None:
    settings = TuneSettings(
        calibration=folder / "all.csv",
        columns=("body", "label=intent"),
        recipes={"few": QuantizationRecipe(method=Static(examples=4))},
        threads=(1,),
        length=16,
    )
    goals = [Goal(option="max_accuracy_drop", bound=0.9), Goal(option="min_label_agreement", bound=0.1)]
    tuned = tune([folder / "float"], tmp_path / "tuned", goals=goals, settings=settings)
    fidelity = tuned.points[0].fidelity
    assert fidelity[f"{HEAD}.accuracy"].n == len(SENTENCES)
    assert f"{HEAD}.kl_mean" in fidelity
    assert tuned.best == "few"


def test_what_does_not_fit_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("text,label\nThe cat sat.,sea\nA ship left.,fire\n")
    with pytest.raises(CorpusError, match=r"other\.csv: line 3: the model has no label 'fire'"):
        bench([folder / "int8"], reference=folder / "float", data=tmp_path / "other.csv", settings=ALL)
    common = ["bench", str(folder / "int8"), "-r", str(folder / "float")]
    for arguments, code, told in (
        (["--column", "body"], 2, "--column body: has no effect without --data"),
        (["--data", str(folder / "all.csv"), "--column", "txt"], 2, "all.csv has no such column"),
        (["--data", str(folder / "all.csv")], 3, "line 1 has no column 'text'; it has 'body', 'intent'"),
        (["--data", str(tmp_path / "none.csv")], 3, "none.csv: cannot be read"),
    ):
        error = CliRunner().invoke(app, [*common, *arguments]).exception
        assert isinstance(error, BertEdgeError)
        assert error.exit_code == code
        assert told in error.message
