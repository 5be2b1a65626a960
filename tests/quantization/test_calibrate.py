"""What calibration reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from threadpoolctl import threadpool_limits

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout, masked_batch
from bertedge.data.calibration import mixed_texts
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.pairs import sentence_pairs
from bertedge.engines.onnxruntime.feed import feed
from bertedge.engines.onnxruntime.session import inputs_of
from bertedge.graph.rounding import NEAREST
from bertedge.layers import block_layers
from bertedge.quantization import calibrate, quantize
from bertedge.quantization.calibrate import SEED
from bertedge.quantization.compensate import Products
from bertedge.quantization.float_model import float_model
from bertedge.quantization.one_thread import one_blas_thread
from bertedge.quantization.ranges import read_ranges
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.weight_range import FULL_RANGE

METHOD = Static(examples=4, max_length=48)


def test_every_position_is_seen_by_every_layer(checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> None:
    """Not only [CLS] and the masked positions, which are all that the last block and the head compute unasked."""
    bundle = quantize(checkpoint, tmp_path / "b", recipe=QuantizationRecipe(method=METHOD), calibration=corpus_file)
    ranges = read_ranges(bundle.folder)
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    layout, rng = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size), np.random.default_rng(SEED)
    last = block_layers(checkpoint.config, checkpoint.config.num_hidden_layers - 1).output.name
    texts = mixed_texts(corpus, METHOD.examples, max_length=METHOD.max_length, seed=SEED, pairs=sentence_pairs)
    with float_model(checkpoint) as model:
        session = ort.InferenceSession(str(model.observed))
        values = [model.layer_inputs[layer] for layer in (last, "mlm.decoder")]
        reach = [np.full(model.channels[value], -np.inf) for value in values]
        for text in texts:
            batch = masked_batch([text], layout, rng)
            for array, seen in zip(
                session.run(values, feed(batch, inputs_of(session), everywhere=True)), reach, strict=True
            ):
                assert array.shape[1] >= batch.input_ids.shape[1]
                np.maximum(seen, array.max(axis=(0, 1)), out=seen)
        del session
    for layer, seen in zip((last, "mlm.decoder"), reach, strict=True):
        assert np.allclose(np.array(ranges.layers[layer].high), seen, rtol=1e-3, atol=1e-6)


def test_ranges_are_the_same_wherever_the_head_will_be_read(bundle_of) -> None:  # type: ignore[no-untyped-def]
    masked: Bundle = bundle_of("static")
    everywhere: Bundle = bundle_of("static", positions="all")
    assert read_ranges(masked.folder).layers == read_ranges(everywhere.folder).layers


def test_bundles_are_the_same_on_any_number_of_threads(
    checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product of wide matrices is summed in another order by BLAS on two threads, so rounding compares them."""
    hashes = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(calibrate, "usable_cpus", lambda threads=threads: threads)
        with threadpool_limits(limits=threads, user_api="blas"):
            recipe = QuantizationRecipe(method=METHOD)
            bundle = quantize(checkpoint, tmp_path / str(threads), recipe=recipe, calibration=corpus_file)
        hashes.append({name: entry.sha256 for name, entry in bundle.manifest.files.items()})
    assert hashes[0] == hashes[1] == hashes[2]


def test_rounding_is_the_same_on_any_number_of_threads() -> None:
    """As wide as a layer of the built-in model, whose bundle differed in 14 tensors between one core and two."""
    rng = np.random.default_rng(0)
    matrix, inputs = (rng.normal(size=(rows, 1024)).astype(np.float32) for rows in (256, 600))

    def rounded(threads: int) -> np.ndarray:
        products = Products(1024)
        with threadpool_limits(limits=threads, user_api="blas"), one_blas_thread():
            products.observe(inputs)
            return products.rounding(NEAREST)(matrix, FULL_RANGE).values

    assert np.array_equal(rounded(1), rounded(2))
