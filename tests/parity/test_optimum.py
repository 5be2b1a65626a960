"""A bundle with ``--positions all`` is a model that Optimum and its pipelines load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bertedge.encoders import EncoderConfig
from bertedge.quantization import export, quantize
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer
from tests.heads.test_sequence_classification import PROBLEMS, saved
from tests.heads.test_token_classification import tagger

optimum = pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed (extra 'compare')")


@pytest.mark.parametrize("method", [None, "static", "dynamic"])
def test_fill_mask_pipeline(method: str | None, model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, pipeline

    if method is None:
        export(model_folder, tmp_path / "bundle", positions="all")
    else:
        recipe = QuantizationRecipe(method=METHODS[method]())
        quantize(model_folder, tmp_path / "bundle", positions="all", recipe=recipe, calibration=corpus_file)
    model = optimum.ORTModelForMaskedLM.from_pretrained(tmp_path / "bundle")
    fill = pipeline("fill-mask", model=model, tokenizer=AutoTokenizer.from_pretrained(tmp_path / "bundle"), top_k=3)
    text = "The cat sat on the [MASK]."
    (ours,) = load(tmp_path / "bundle").fill_mask(text, top_k=3)
    theirs = fill(text)
    assert [one.token_id for one in ours] == [one["token"] for one in theirs]
    assert np.allclose([one.probability for one in ours], [one["score"] for one in theirs], atol=1e-4)


@pytest.mark.parametrize(("problem", "outputs"), PROBLEMS)
def test_text_classification_pipeline(
    problem: str | None,
    outputs: int,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    from transformers import AutoTokenizer, pipeline

    saved(tmp_path / "float", config, tokenizer, outputs=outputs, problem_type=problem)
    bundle = export(tmp_path / "float", tmp_path / "bundle", positions="all").folder
    model = optimum.ORTModelForSequenceClassification.from_pretrained(bundle)
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(bundle), top_k=None)
    ours, theirs = load(bundle).classify("The cat sat."), classify(["The cat sat."])[0]
    assert [one.label for one in ours.scores] == [one["label"] for one in theirs]
    assert np.allclose([one.score for one in ours.scores], [one["score"] for one in theirs], atol=1e-4)


def test_token_classification_pipeline(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, pipeline

    tagger("bert", tmp_path / "float", tokenizer)
    bundle = export(tmp_path / "float", tmp_path / "bundle", positions="all").folder
    model = optimum.ORTModelForTokenClassification.from_pretrained(bundle)
    tag = pipeline("token-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(bundle))
    runtime = load(bundle)
    for aggregation in ("none", "simple", "first"):
        text = "The cat sat on the mat, unbelievably."
        ours, theirs = runtime.tag(text, aggregation=aggregation), tag(text, aggregation_strategy=aggregation)
        expected = [(one.get("entity_group") or one["entity"], one["start"], one["end"]) for one in theirs]
        assert [(one.label, one.start, one.end) for one in ours] == expected
        assert np.allclose([one.score for one in ours], [one["score"] for one in theirs], atol=1e-4)
