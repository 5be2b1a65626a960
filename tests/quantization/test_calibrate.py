"""What calibration reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout, masked_batch
from bertedge.data.calibration import mixed_texts
from bertedge.data.corpus import tokenize_corpus
from bertedge.graph.plan import MLM_DECODER, BlockNames
from bertedge.quantization import calibrate, quantize
from bertedge.quantization.calibrate import SEED, feed_of
from bertedge.quantization.float_model import float_model
from bertedge.quantization.ranges import read_ranges
from bertedge.recipe import QuantizationRecipe, Static

METHOD = Static(num_examples=4, max_length=48)


def test_every_position_is_seen_by_every_layer(checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> None:
    """Not only [CLS] and the masked positions, which are all that the last block and the head compute unasked."""
    bundle = quantize(checkpoint, tmp_path / "b", recipe=QuantizationRecipe(method=METHOD), calibration=corpus_file)
    ranges = read_ranges(bundle.folder)
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    layout, rng = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size), np.random.default_rng(SEED)
    last = BlockNames.of(checkpoint.config.num_hidden_layers - 1).output
    texts = mixed_texts(corpus, METHOD.num_examples, max_length=METHOD.max_length, seed=SEED, pairs=True)
    with float_model(checkpoint) as model:
        session = ort.InferenceSession(str(model.observed))
        values = [model.layer_inputs[layer] for layer in (last, MLM_DECODER)]
        reach = [np.full(model.channels[value], -np.inf) for value in values]
        for text in texts:
            feed = feed_of(masked_batch([text], layout, rng))
            for array, seen in zip(session.run(values, feed), reach, strict=True):
                assert array.shape[1] >= feed["input_ids"].shape[1]
                np.maximum(seen, array.max(axis=(0, 1)), out=seen)
        del session
    for layer, seen in zip((last, MLM_DECODER), reach, strict=True):
        assert np.allclose(np.array(ranges.layers[layer].high), seen, rtol=1e-3, atol=1e-6)


def test_ranges_are_the_same_wherever_the_head_will_be_read(bundle_of) -> None:  # type: ignore[no-untyped-def]
    masked: Bundle = bundle_of("static")
    everywhere: Bundle = bundle_of("static", positions="all")
    assert read_ranges(masked.folder).layers == read_ranges(everywhere.folder).layers


def test_bundles_are_the_same_on_any_number_of_threads(
    checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(calibrate, "usable_cpus", lambda threads=threads: threads)
        recipe = QuantizationRecipe(method=METHOD)
        bundle = quantize(checkpoint, tmp_path / str(threads), recipe=recipe, calibration=corpus_file)
        hashes.append({name: entry.sha256 for name, entry in bundle.manifest.files.items()})
    assert hashes[0] == hashes[1] == hashes[2]


def test_a_text_that_is_hardly_read_is_named_in_the_manifest(
    model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text((corpus_file.read_text() + "\n") * 200)
    options = {"recipe": QuantizationRecipe(method=METHOD), "calibration": tmp_path / "long.txt"}
    made = quantize(model_folder, tmp_path / "made", **options)  # type: ignore[arg-type]
    assert [told for told in made.manifest.warnings if "long.txt: calibration reads" in told]
    again = quantize(model_folder, tmp_path / "again", ranges=tmp_path / "made", **options)  # type: ignore[arg-type]
    assert not [told for told in again.manifest.warnings if "calibration reads" in told]
