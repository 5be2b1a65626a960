"""Mixed precision: no more layers than the goals take, and a reason for each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.cli.info_command import recipe_toml
from bertedge.encoders import EncoderConfig
from bertedge.errors import UsageError
from bertedge.evaluate.goals import Goal, goals_of
from bertedge.heads.parts import Parts
from bertedge.quantization import quantize
from bertedge.quantization.promote import next_try
from bertedge.recipe import Dynamic, QuantizationRecipe, Static, recipe_of_table
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from bertedge.tokenizer import Tokenizer
from tests.conftest import DOCUMENTS, random_tensors

RECIPE = QuantizationRecipe(method=Static(examples=8, max_length=48, rounding="nearest"))


@given(st.integers(0, 60), st.integers(1, 61))
def test_the_search_finds_the_fewest_steps(last: int, enough: int) -> None:
    met = {0: False}
    while (count := next_try(met, last)) is not None:
        assert count not in met
        met[count] = count >= enough
    assert any(met.values()) == (enough <= last)
    if enough <= last:
        assert min(count for count, good in met.items() if good) == enough
    assert len(met) <= 9


def test_nothing_is_tried_where_the_goals_are_met() -> None:
    assert next_try({0: True}, 5) is None


def kl_of(bundle: Bundle) -> float:
    return bundle.manifest.goals["max_kl"].value


@pytest.fixture(scope="module")
def plain_kl(checkpoint: Checkpoint, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """The loss of the recipe without promotions; allowed, so that there are none."""
    folder = tmp_path_factory.mktemp("plain") / "b"
    goals = (Goal(option="max_kl", bound=10),)
    bundle = quantize(checkpoint, folder, recipe=RECIPE, calibration=corpus_file, target="portable", goals=goals)
    assert bundle.manifest.goals["max_kl"].met
    assert "sensitivity.json" not in bundle.manifest.files
    assert bundle.manifest.layer_reasons.keys() == {"mlm.transform", "nsp"}
    assert bundle.manifest.recipe == QuantizationRecipe(method=RECIPE.method, held_out=0.25)
    return kl_of(bundle)


@pytest.mark.parametrize("method", [RECIPE.method, Dynamic()], ids=lambda m: m.name)
def test_layers_are_promoted_until_the_loss_is_as_allowed(
    method: Static | Dynamic, plain_kl: float, checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path
) -> None:
    goals = goals_of({"max_kl": plain_kl / 3})
    recipe = QuantizationRecipe(method=method)
    bundle = quantize(
        checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file, target="portable", goals=goals
    )
    manifest = bundle.manifest
    assert kl_of(bundle) <= plain_kl / 3
    assert manifest.goals["max_kl"].n > 100
    promoted = {layer: why for layer, why in manifest.layer_reasons.items() if "promoted" in why}
    assert promoted
    named = {*manifest.recipe.float16, *getattr(manifest.recipe.method, "finer", ())}  # type: ignore[union-attr]
    assert promoted.keys() == named
    assert all("mlm.kl_mean" in why for why in promoted.values())
    assert len(promoted) < 10
    assert manifest.coverage.macs > 0.3
    sensitivity = json.loads((bundle.folder / "sensitivity.json").read_text())
    assert sensitivity["losses"]["mlm.kl_mean"] > 0
    assert verify(load(bundle.folder, allow_any_cpu=True)).passed
    # who quantizes by the recipe that "info --recipe" prints gets the same bundle
    printed = recipe_of_table(tomllib.loads(recipe_toml(bundle, "b")))
    assert printed == manifest.recipe
    again = quantize(checkpoint, tmp_path / "c", recipe=printed, calibration=corpus_file, target="portable")
    assert again.manifest.files["model.onnx"] == manifest.files["model.onnx"]
    assert {k for k, why in again.manifest.layer_reasons.items() if "=" in why} == named


def bertedge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bertedge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_goal_that_cannot_be_met_saves_the_best_and_says_so(
    plain_kl: float, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(
        f"{corpus_file.read_text()}\n{corpus_file.read_text()}"
    )  # of eight documents two are held out whole
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("examples = 8\n[goals]\nmax_kl = 0.5\nmax_nsp_flips = 1\n")
    done = bertedge(
        *("quantize", model_folder, "-o", tmp_path / "b", "--calibration", text, "--recipe", recipe),
        *("--max-kl", "1e-12"),
    )
    assert done.returncode == 1, done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "mlm.kl_mean is" in error
    assert "the goal is at most 1e-12" in error
    assert "is saved" in hint
    assert "met: nsp.flip_rate" in done.stderr
    bundle = Bundle.open(tmp_path / "b")
    assert kl_of(bundle) < plain_kl / 10
    assert not bundle.manifest.goals["max_kl"].met
    info = bertedge("info", tmp_path / "b").stdout
    assert "promoted, which alone changes mlm.kl_mean" in info


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-kl", "-1"), "--max-kl -1"),
        (("--max-kl", "nan"), "--max-kl nan"),
        (("--min-agreement", "99"), "--min-agreement 99"),
        (("--max-kl", "little"), "--max-kl"),
        (("--exclude", "encoder.layer.9.*", "--max-kl", "1"), "encoder.layer.9"),
        (("--set", "float16=mlm.decodr"), "mlm.decodr"),
        (("--set", "float16=embeddings.word"), "shares its table"),
    ],
)
def test_bad_goals_and_patterns(
    options: tuple[str, ...], message: str, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    done = bertedge("quantize", model_folder, "-o", tmp_path / "b", "--calibration", corpus_file, *options)
    assert done.returncode == 2, done.stderr
    error, hint = done.stderr.splitlines()[-2:]
    assert message in error
    assert hint.startswith("hint: ")
    assert list(tmp_path.iterdir()) == []


def test_every_reason_that_a_layer_can_have(checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> None:
    method = Static(examples=2, max_length=32, finer=("encoder.layer.0.*",))
    recipe = QuantizationRecipe(method=method, exclude=("pooler",), float16=("encoder.layer.1.output", "mlm.decoder"))
    bundle = quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file)
    reasons = bundle.manifest.layer_reasons
    assert reasons["pooler"] == "float32: exclude=pooler"
    assert reasons["encoder.layer.1.output"] == "float16: float16=encoder.layer.1.output"
    assert reasons["encoder.layer.0.output"] == "int8 with 16-bit activations: finer=encoder.layer.0.*"
    assert reasons["mlm.transform"].startswith("float16: it is 1 % of the work")
    assert reasons["nsp"] == "float32: a few rows"
    assert reasons["embeddings.word"].startswith("float16")  # the decoder's table
    assert "encoder.layer.1.intermediate" not in reasons
    assert verify(load(bundle.folder)).passed


def test_goals_for_a_missing_head_or_a_single_document(
    config: EncoderConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mlm-only"
    folder.mkdir()
    write_checkpoint(folder, config, random_tensors(config, Parts(("mlm",))), tokenizer)
    goals = goals_of({"max_nsp_flips": 0.1})
    with pytest.raises(UsageError, match="mlm-only has no nsp head"):
        quantize(folder, tmp_path / "b", recipe=RECIPE, calibration=corpus_file, goals=goals)
    one = tmp_path / "one.txt"
    one.write_text("\n".join(line for line in corpus_file.read_text().splitlines() if line))
    shutil.rmtree(folder)
    folder.mkdir()
    write_checkpoint(folder, config, random_tensors(config, Parts(("mlm", "nsp"))), tokenizer)
    with pytest.raises(UsageError, match="single document"):
        quantize(folder, tmp_path / "b", recipe=RECIPE, calibration=one, goals=goals)
    bundle = quantize(folder, tmp_path / "b", recipe=RECIPE, calibration=one, goals=goals_of({"max_kl": 1.0}))
    assert np.isfinite(kl_of(bundle))


def test_a_part_of_a_single_document_has_no_pairs_to_be_judged_by(model_folder: Path, tmp_path: Path) -> None:
    sentences = "\n".join(sentence for document in DOCUMENTS for sentence in document)
    text = tmp_path / "text.txt"
    text.write_text(f"{sentences}\n\nOne.\n\nTwo.\n")
    with pytest.raises(UsageError, match="--max-nsp-flips: .* is a single document"):
        quantize(model_folder, tmp_path / "b", calibration=text, goals=goals_of({"max_nsp_flips": 0.1}))
