"""A model with outliers equals the original in float. Plain int8 fails on it; the default recipe does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.outlier_model import with_outliers
from bertedge.bundle import Bundle
from bertedge.checkpoint import BUILT_IN, Checkpoint, open_checkpoint, write_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders import EncoderConfig
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.heads.parts import Parts
from bertedge.metric import MetricValue
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

DEFAULT = QuantizationRecipe().changed(examples=64)
RECIPES = {"plain": DEFAULT.changed(smoothing=False, float_outliers=False), "default": DEFAULT}


@pytest.mark.parametrize(
    "heads", [Parts(("mlm", "nsp")), Parts(("mlm",), pooler=True, tied=False), Parts(("mlm",)), Parts()]
)
def test_a_twin_computes_the_same(
    heads: Parts, config: EncoderConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, config, random_tensors(config, heads), tokenizer)
    checkpoint = Checkpoint.read(tmp_path)
    changed = with_outliers(checkpoint)
    one, other = load(export(checkpoint, tmp_path / "a").folder), load(export(changed, tmp_path / "b").folder)
    texts = ["The cat sat on the [MASK]." if "mlm" in heads.heads else "The cat sat.", "Bread needs flour and time."]
    assert np.allclose(one.encode(texts), other.encode(texts), atol=1e-4)
    if "mlm" in heads.heads:
        (ours,), (theirs,) = (model.fill_mask(texts[0], top_k=5) for model in (one, other))
        assert [word.token_id for word in ours] == [word.token_id for word in theirs]
        assert np.allclose([w.probability for w in ours], [w.probability for w in theirs], atol=1e-4)
    if "nsp" in heads.heads:
        assert one.next_sentence(*texts) == pytest.approx(other.next_sentence(*texts), abs=1e-4)


def test_every_layer_of_a_twin_reads_outliers(checkpoint: Checkpoint) -> None:
    changed = with_outliers(checkpoint, factor=40.0, channels=2)
    for name, shape in checkpoint.source.shapes.items():
        if name.endswith("LayerNorm.bias") and "predictions" not in name:
            moved = np.abs(changed.tensor(name) - checkpoint.tensor(name))
            assert (moved > 39).sum() == (0 if name.startswith("encoder.layer.1.output") else 2), name
            assert shape == moved.shape


def test_plain_int8_collapses_on_the_built_in_twin_and_the_default_recipe_holds(
    built_in_of: Callable[[str], Bundle], tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(BUILT_IN[0])
    changed = with_outliers(checkpoint)
    made = [quantize(changed, tmp_path / name, recipe=r, target="portable") for name, r in RECIPES.items()]
    plain, default, original = fidelity(checkpoint, tmp_path, [*made, built_in_of("portable")])
    assert plain["mlm.top1_agreement"].value < 0.8
    assert plain["mlm.kl_mean"].value > 50 * default["mlm.kl_mean"].value
    assert default["mlm.kl_mean"].value < 0.003
    assert _not_much_below(default["mlm.top1_agreement"], original["mlm.top1_agreement"])


def fidelity(checkpoint: Checkpoint, folder: Path, bundles: Sequence[Bundle]) -> list[dict[str, MetricValue]]:
    reference = load(export(checkpoint, folder / "float").folder)
    corpus = tokenize_corpus(default_text(), reference.tokenizer)
    layout = Layout.of(reference.tokenizer, reference.bundle.config.vocab_size)
    batches = evaluation_batches(corpus, layout, examples=48, max_length=64, seed=0)
    return measure_fidelity(reference, [load(bundle.folder) for bundle in bundles], batches)


def _not_much_below(value: MetricValue, other: MetricValue) -> bool:
    return value.high >= other.low - 0.005


def test_a_twin_of_a_twin_is_still_the_same(checkpoint: Checkpoint) -> None:
    changed = with_outliers(with_outliers(checkpoint, factor=30.0), factor=30.0, seed=1)
    assert changed.parts == checkpoint.parts
    assert replace(changed, name="x").tokenizer is not None
