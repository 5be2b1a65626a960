"""Ranges are kept with the bundle and can be used again, on the model they belong to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.outlier_model import with_outliers
from bertedge.bundle import RANGES, Bundle
from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.errors import FileError, UsageError
from bertedge.evaluate.goals import goals_of
from bertedge.heads.parts import Parts
from bertedge.quantization import quantize
from bertedge.quantization.observers import Channels
from bertedge.quantization.ranges import channel_range, read_ranges, write_ranges
from bertedge.recipe import Dynamic, QuantizationRecipe
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_rounding_only_widens(values: list[float]) -> None:
    seen = Channels.unseen(len(values))
    seen.observe(np.array([values], dtype=np.float32))
    stored = channel_range(seen)
    assert (np.array(stored.low) <= seen.low + 1e-6 * np.abs(seen.low)).all()
    assert (np.array(stored.high) >= seen.high - 1e-6 * np.abs(seen.high)).all()
    assert np.allclose(stored.low, seen.low, rtol=2e-3)
    assert np.allclose(stored.high, seen.high, rtol=2e-3)


def test_a_bundle_keeps_its_ranges_and_they_make_it_again(
    bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    first = bundle_of("static")
    assert RANGES in first.manifest.files
    assert first.manifest.recipe
    again = quantize(
        model_folder,
        tmp_path / "again",
        target="portable",
        recipe=first.manifest.recipe,
        calibration=corpus_file,
        ranges=first.folder,
    )
    assert again.manifest.files["model.onnx"] == first.manifest.files["model.onnx"]
    assert again.manifest.files[RANGES] == first.manifest.files[RANGES]

    messages: list[str] = []
    quantize(
        model_folder,
        tmp_path / "uncompensated",
        recipe=first.manifest.recipe.changed(rounding="nearest"),
        calibration=corpus_file,
        ranges=first.folder / RANGES,
        listen=lambda share, text: messages.append(text),
    )
    assert not any(text.startswith("calibrating") for text in messages)


def test_other_bundles_have_none(bundle_of: Callable[..., Bundle]) -> None:
    assert RANGES not in bundle_of("dynamic").manifest.files
    assert RANGES not in bundle_of("float32").manifest.files


def test_ranges_of_another_model_are_refused(
    bundle_of: Callable[..., Bundle], config: EncoderConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, config, random_tensors(config, Parts(("mlm", "nsp")), seed=1), tokenizer)
    with pytest.raises(UsageError, match="made for another model, tiny-bert"):
        quantize(tmp_path, tmp_path / "b", ranges=bundle_of("static").folder, calibration=corpus_file)


def test_misfits_are_refused(
    bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    ranges = read_ranges(bundle_of("static").folder)
    layer = next(iter(ranges.layers))
    low = ranges.layers[layer].low
    short = {**ranges.layers, layer: replace(ranges.layers[layer], low=(0.0,))}
    endless = {**ranges.layers, layer: replace(ranges.layers[layer], low=(float("-inf"), *low[1:]))}
    for name, layers, words in (("short", short, "channels for"), ("endless", endless, "NaN or infinity")):
        write_ranges(tmp_path / name, replace(ranges, layers=layers))
        with pytest.raises(FileError, match=words):
            recipe = QuantizationRecipe().changed(examples=ranges.examples)
            quantize(model_folder, tmp_path / "b", recipe=recipe, ranges=tmp_path / name, calibration=corpus_file)
    with pytest.raises(UsageError, match="dynamic"):
        quantize(
            model_folder,
            tmp_path / "b",
            recipe=QuantizationRecipe(method=Dynamic()),
            ranges=bundle_of("static").folder,
            calibration=corpus_file,
        )


def test_a_newer_file_is_refused(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    raw = json.loads((bundle_of("static").folder / RANGES).read_text())
    (tmp_path / "r.json").write_text(json.dumps({**raw, "schema_version": 99}))
    with pytest.raises(FileError, match="schema_version is 99"):
        read_ranges(tmp_path / "r.json")


def test_the_way_out_names_what_the_ranges_were_made_with(
    bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    recipe = QuantizationRecipe().changed(observer="percentile", percentile=99.9, examples=8)
    made = quantize(model_folder, tmp_path / "a", recipe=recipe, calibration=corpus_file)
    with pytest.raises(UsageError, match=r"made with --set observer=percentile --set percentile=99\.9, not") as caught:
        other = recipe.changed(percentile=99.99)
        quantize(model_folder, tmp_path / "b", recipe=other, calibration=corpus_file, ranges=made.folder)
    assert "add --set observer=percentile --set percentile=99.9" in caught.value.hint


def test_other_sizes_and_a_twin_are_other_models(
    bundle_of: Callable[..., Bundle], checkpoint: Checkpoint, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(model_folder, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    for model in (other, with_outliers(checkpoint)):
        with pytest.raises(UsageError, match="made for another model"):
            quantize(model, tmp_path / "b", ranges=bundle_of("static").folder, calibration=corpus_file)


def test_paths_may_be_strings(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    keep = {"keep_vocab": 150, "vocab_corpus": str(corpus_file), "calibration": str(corpus_file)}
    quantize(str(model_folder), first, **keep)  # type: ignore[arg-type]
    assert quantize(str(model_folder), second, ranges=first, **keep).manifest.warnings  # type: ignore[arg-type]


def test_what_a_goal_is_judged_on_was_not_seen(
    bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    first = bundle_of("static")
    assert first.manifest.recipe
    recipe, goals = first.manifest.recipe, goals_of({"max_kl": 10.0})
    with pytest.raises(UsageError, match="made from all of the text, but goals are measured on text"):
        quantize(model_folder, tmp_path / "b", recipe=recipe, calibration=corpus_file, ranges=first.folder, goals=goals)
    judged = quantize(model_folder, tmp_path / "a", recipe=recipe, calibration=corpus_file, goals=goals)
    again = quantize(
        model_folder, tmp_path / "b", recipe=recipe, calibration=corpus_file, ranges=judged.folder, goals=goals
    )
    assert again.model_sha256 == judged.model_sha256
    with pytest.raises(UsageError, match="made from 16 texts, not 9") as caught:
        other = recipe.changed(examples=9)
        quantize(model_folder, tmp_path / "c", recipe=other, calibration=corpus_file, ranges=first.folder)
    assert "--examples 16" in caught.value.hint
