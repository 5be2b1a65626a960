"""What calibration reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout, masked_batch
from bertedge.data.calibration import mixed_pairs
from bertedge.data.corpus import tokenize_corpus
from bertedge.graph.plan import BlockNames
from bertedge.quantization import quantize
from bertedge.quantization.calibrate import SEED, feed_of
from bertedge.quantization.float_model import float_model
from bertedge.quantization.ranges import read_ranges
from bertedge.recipe import QuantizationRecipe, Static

METHOD = Static(num_examples=4, max_length=48)


def test_every_position_of_the_last_block_is_seen(checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> None:
    """Not only [CLS] and the masked ones, which are all that the last block computes unless it is asked for more."""
    bundle = quantize(checkpoint, tmp_path / "b", recipe=QuantizationRecipe(method=METHOD), calibration=corpus_file)
    ranges = read_ranges(bundle.folder)
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    layout, rng = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size), np.random.default_rng(SEED)
    layer = BlockNames.of(checkpoint.config.num_hidden_layers - 1).output
    with float_model(checkpoint) as model:
        session = ort.InferenceSession(str(model.observed))
        reach = np.full(model.channels[model.layer_inputs[layer]], -np.inf)
        for pair in mixed_pairs(corpus, METHOD.num_examples, max_length=METHOD.max_length, seed=SEED):
            feed = feed_of(masked_batch([pair], layout, rng), "masked")
            feed["masked_positions"] = np.arange(feed["input_ids"].shape[1])[None]
            del feed["hidden_positions"]
            (values,) = session.run([model.layer_inputs[layer]], feed)
            reach = np.maximum(reach, values.max(axis=(0, 1)))
        del session
    assert np.allclose(np.array(ranges.layers[layer].high), reach, rtol=1e-3, atol=1e-6)


def test_the_head_is_seen_where_it_will_be_read(bundle_of) -> None:  # type: ignore[no-untyped-def]
    masked: Bundle = bundle_of("static")
    everywhere: Bundle = bundle_of("static", positions="all")
    few, all_of_them = (read_ranges(b.folder).layers["mlm.decoder"] for b in (masked, everywhere))
    assert (np.array(all_of_them.high) >= np.array(few.high)).all()
    assert all_of_them.high != few.high
