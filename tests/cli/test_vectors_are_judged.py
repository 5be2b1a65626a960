"""A model without MLM and NSP heads is judged by its vectors, by every command that judges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.heads.parts import Parts
from bertedge.printable import at_least
from bertedge.quantization import quantize
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.tokenizer import Tokenizer
from tests.cli.test_cli import typed
from tests.conftest import DOCUMENTS, random_tensors

QUICK = ("--rounds", 2, "--max-rounds", 2, "--seconds", 0, "--lengths", "1x16", "--threads", 1)
#: An engine that cuts values off outside of the ranges that calibration found.
CUTS = ("--engine", "onnxruntime")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer) -> Path:
    """A bare encoder with some channels that carry much, as real encoders have."""
    folder = tmp_path_factory.mktemp("embedder") / "bare"
    folder.mkdir()
    tensors = random_tensors(config, Parts(pooler=True))
    for name in tensors:
        if name.endswith("LayerNorm.weight"):
            tensors[name][:2] *= 12
    write_checkpoint(folder, config, tensors, tokenizer)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, embedder: Path, corpus_file: Path) -> dict[str, Bundle]:
    """By the default recipe, and by one that cuts a tenth of all values off."""
    folder = tmp_path_factory.mktemp("bundles")
    sample = {"examples": 16, "max_length": 48}
    ruined = Static(
        observer="percentile", percentile=90, smoothing=False, float_outliers=False, bias_correction=False, **sample
    )
    recipes = {"good": Static(**sample), "ruined": ruined}
    return {
        name: quantize(
            embedder,
            folder / name,
            recipe=QuantizationRecipe(method=method),
            calibration=corpus_file,
            target="portable",
        )
        for name, method in recipes.items()
    }


def test_what_is_not_measured_is_never_zero(bundles: dict[str, Bundle], embedder: Path, corpus_file: Path) -> None:
    fidelity = bundles["ruined"].manifest.fidelity
    assert fidelity.max_prob_diff is None
    assert fidelity.agreement == {}
    assert fidelity.min_cosine is not None
    assert fidelity.min_cosine < 0.95
    done = typed("verify", bundles["ruined"].folder, *CUTS)
    assert done.returncode == 0
    assert "probabilities    not measured" in done.stdout
    assert f"vectors have a cosine of {at_least(fidelity.min_cosine)} or more" in done.stdout


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.99997, "0.9999"),
        (0.9999, "0.9999"),
        (1 - 1e-8, "1.0000"),
        (1.0, "1.0000"),
        (0.21287, "0.2128"),
        (0.3, "0.3000"),
        (-0.00004, "-0.0001"),
        (float("nan"), "nan"),
    ],
)
def test_a_lower_bound_is_rounded_down(value: float, shown: str) -> None:
    """Vectors that differ from float's are not said to have a cosine of 1 or more."""
    assert at_least(value) == shown


def rough_by(percentile: float) -> tuple[str, ...]:
    """Options of ``quantize`` for a bundle that is far from float."""
    settings = ("observer=percentile", f"percentile={percentile}", "smoothing=false", "float_outliers=false")
    return tuple(word for setting in settings for word in ("--set", setting))


def test_quantize_says_how_far_vectors_are(embedder: Path, corpus_file: Path, tmp_path: Path) -> None:
    ruined = rough_by(90)
    sample = ("--calibration", corpus_file, "--examples", 16)
    done = typed("quantize", embedder, "-o", tmp_path / "b", *sample, *ruined)
    assert done.returncode == 0, done.stderr
    assert "probabilities differ" not in done.stderr
    assert "warning: vectors are far from float's" in done.stderr


def test_a_ruined_embedder_fails(bundles: dict[str, Bundle], embedder: Path, tmp_path: Path) -> None:
    baseline, report, texts = tmp_path / "baseline.json", tmp_path / "report.json", tmp_path / "texts.txt"
    sentences = [sentence for document in DOCUMENTS for sentence in document]
    texts.write_text("\n".join(f"{one} {other}" for one in sentences[::3] for other in sentences if one != other))
    common = ("--reference", embedder, "--corpus", texts, *QUICK, *CUTS, "--baseline", baseline)
    good = typed("bench", bundles["good"].folder, *common, "--update-baseline", "--reason", "first")
    assert good.returncode == 0, good.stderr
    done = typed("bench", bundles["ruined"].folder, *common, "--json", report)
    assert done.returncode == 1, done.stdout
    found = json.loads(report.read_text())["candidates"][0]["fidelity"]
    assert found["embedding.cosine_mean"]["value"] < 0.995
    assert "invariance.max_prob_diff" not in found
    assert found["invariance.max_vector_diff"]["value"] < 1e-5


def test_goals_for_vectors_are_met_or_missed_out_loud(embedder: Path, corpus_file: Path, tmp_path: Path) -> None:
    sample = ("--calibration", corpus_file, "--examples", 8)
    missed = typed("quantize", embedder, "-o", tmp_path / "a", *sample, "--min-cosine", 1)
    assert missed.returncode == 1
    assert "embedding.cosine_mean is" in missed.stderr
    rough = rough_by(80)
    done = typed("quantize", embedder, "-o", tmp_path / "b", *sample, *rough, "--min-cosine", 0.98)
    assert done.returncode == 0, done.stderr
    reached = Bundle.open(tmp_path / "b").manifest.goals["min_cosine"]
    assert reached.met
    assert reached.low >= 0.98
    assert "promoted:" in done.stderr


def test_a_goal_for_words_that_are_not_there_is_refused(embedder: Path, corpus_file: Path, tmp_path: Path) -> None:
    done = typed("quantize", embedder, "-o", tmp_path / "b", "--calibration", corpus_file, "--max-kl", 0.1)
    assert done.returncode == 2
    assert "has no mlm head" in done.stderr


def test_tune_prefers_vectors_that_are_float_like(embedder: Path, corpus_file: Path, tmp_path: Path) -> None:
    text = ("--calibration", corpus_file, "--corpus", corpus_file, "--examples", 16, "--length", 32, "--threads", 1)
    done = typed("tune", embedder, "-o", tmp_path / "runs", *text, "--min-cosine", 0.9)
    assert done.returncode == 0, done.stderr
    tuned = json.loads((tmp_path / "runs" / "pareto.json").read_text())
    assert tuned["objectives"][0] == "embedding.cosine_mean"
    best = next(entry for entry in tuned["points"] if entry["name"] == tuned["best"])
    assert best["fidelity"]["embedding.cosine_mean"]["low"] >= 0.9
    assert np.isfinite([entry["fidelity"]["embedding.relative_error"]["value"] for entry in tuned["measured"]]).all()
