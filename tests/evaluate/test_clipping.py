"""Clipping is counted in the bundle's own graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.clipping import measure_clipping
from bertedge.evaluate.fidelity import evaluation_batches
from bertedge.predictor import Batch
from bertedge.quantization import quantize
from bertedge.quantization.ranges import read_ranges, write_ranges
from bertedge.recipe import QuantizationRecipe, Static


@pytest.fixture(scope="module")
def batches(bundle_of: Callable[..., Bundle], corpus_file: Path) -> list[Batch]:
    bundle = bundle_of("float32")
    corpus = tokenize_corpus(corpus_file, bundle.tokenizer)
    return evaluation_batches(
        corpus, Layout.of(bundle.tokenizer, bundle.config.vocab_size), examples=16, max_length=48, seed=0
    )


@pytest.mark.parametrize(("kind", "positions"), [("static", "masked"), ("static", "all"), ("faithful", "masked")])
def test_every_layer_is_watched_and_hardly_clips(
    bundle_of: Callable[..., Bundle], batches: list[Batch], kind: str, positions: str
) -> None:
    bundle = bundle_of(kind, positions=positions)
    found = measure_clipping(bundle, batches, threads=1)
    assert found
    watched = {layer for one in found for layer in one.layer.split(", ")}
    assert watched <= {*bundle.layer_names}
    assert {layer for layer in watched if layer.startswith("encoder.")} == {
        layer for layer in bundle.layer_names if layer.startswith("encoder.")
    }
    assert all(0 <= one.outside < 0.01 and one.beyond < 0.5 and one.values > 0 for one in found)


def test_a_range_that_is_too_narrow_is_found(
    bundle_of: Callable[..., Bundle], batches: list[Batch], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    ranges = read_ranges(bundle_of("static").folder)
    layer = "encoder.layer.0.output"
    seen = ranges.layers[layer]
    narrow = replace(seen, low=tuple(np.array(seen.low) / 8), high=tuple(np.array(seen.high) / 8))
    write_ranges(tmp_path / "narrow.json", replace(ranges, layers={**ranges.layers, layer: narrow}))
    recipe = QuantizationRecipe(method=Static(examples=ranges.examples, max_length=48, float_outliers=False))
    bundle = quantize(
        model_folder, tmp_path / "b", recipe=recipe, ranges=tmp_path / "narrow.json", calibration=corpus_file,
        target="portable",
    )  # fmt: skip
    found = measure_clipping(bundle, batches, threads=1)
    assert found
    worst = max(found, key=lambda one: one.outside)
    assert worst.layer == layer
    assert worst.outside > 0.02
    assert worst.beyond > 1


def test_models_without_ranges_have_nothing_to_clip(bundle_of: Callable[..., Bundle], batches: list[Batch]) -> None:
    assert measure_clipping(bundle_of("float32"), batches, threads=1) == ()
    assert measure_clipping(bundle_of("dynamic"), batches, threads=1) == ()
