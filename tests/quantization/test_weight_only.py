"""Weight-only: what is decided, what it costs, what it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.outlier_model import ChangedSource
from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders.names import DECODER, WORD_EMBEDDINGS
from bertedge.errors import UsageError
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.graph.formats import BlockWeights
from bertedge.graph.weight_blocks import QuantizedBlocks, quantize_blocks
from bertedge.quantization import export, quantize
from bertedge.quantization.compensate import Products
from bertedge.quantization.weight_only import fitting_block
from bertedge.recipe import QuantizationRecipe, WeightOnly
from bertedge.runtime import load

RNG = np.random.default_rng(0)
INPUTS = (RNG.normal(size=(2000, 40)) @ RNG.normal(size=(40, 200)) + RNG.normal(size=(2000, 200))).astype(np.float32)
MATRIX = RNG.normal(size=(24, 200)).astype(np.float32)


def made(checkpoint: Checkpoint, folder: Path, corpus_file: Path, *, exclude: tuple = (), **options: object) -> Bundle:
    method = WeightOnly(examples=16, max_length=48, **options)  # type: ignore[arg-type]
    recipe = QuantizationRecipe(method=method, exclude=exclude)
    return quantize(checkpoint, folder, target="portable", recipe=recipe, calibration=corpus_file)


def initializers(bundle: Bundle) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(bundle.model_path).graph.initializer}


@pytest.mark.parametrize("block_size", [16, 64, 256])
def test_compensated_blocks_keep_what_a_layer_computes(block_size: int) -> None:
    form, products = BlockWeights(bits=4, block_size=block_size), Products(200)
    products.observe(INPUTS)

    def loss(blocks: QuantizedBlocks) -> float:
        return float(np.square(INPUTS @ (blocks.floats(list(range(24))) - MATRIX).T).mean())

    rounded = products.rounding().in_blocks(MATRIX, form)
    assert rounded.values.min() >= -8
    assert rounded.values.max() <= 7
    assert loss(rounded) < 0.6 * loss(quantize_blocks(MATRIX, form))


def test_blocks_of_inputs_that_were_never_seen_are_rounded_to_the_nearest_step() -> None:
    form = BlockWeights(bits=4, block_size=32)
    rounded, nearest = Products(200).rounding().in_blocks(MATRIX, form), quantize_blocks(MATRIX, form)
    assert np.array_equal(rounded.values, nearest.values)


@pytest.mark.parametrize(
    ("wanted", "inputs", "size"),
    [(64, 768, 64), (64, 32, 32), (128, 312, 64), (64, 72, 16), (256, 1024, 256), (16, 9, 16)],
)
def test_blocks_shrink_where_padding_would_cost_more(wanted: int, inputs: int, size: int) -> None:
    assert fitting_block(wanted, inputs, bits=4) == size


def test_shrunken_blocks_are_told(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    wide = made(checkpoint, tmp_path / "wide", corpus_file, block_size=128)
    assert [w for w in wide.manifest.warnings if "blocks of 32 and 64 instead of 128" in w]
    fitting = made(checkpoint, tmp_path / "fitting", corpus_file, block_size=32)
    assert not [w for w in fitting.manifest.warnings if "blocks" in w]


def test_a_shared_table_is_stored_once_in_four_bits(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    tensors = initializers(made(checkpoint, tmp_path / "b", corpus_file))
    pieces, hidden = checkpoint.config.vocab_size, checkpoint.config.hidden_size
    of_words = [t for t in tensors.values() if t.dims and t.dims[0] == pieces and len(t.raw_data) > 4 * pieces]
    assert [list(t.dims) for t in of_words] == [[pieces, hidden // 2]]
    assert of_words[0].data_type == onnx.TensorProto.UINT8


def test_an_untied_decoder_has_a_matrix_of_its_own(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    source = ChangedSource(checkpoint)
    source.shapes = {**source.shapes, DECODER: source.shapes[WORD_EMBEDDINGS]}
    load_tied = source.load
    source.load = lambda name: load_tied(WORD_EMBEDDINGS)[::-1] if name == DECODER else load_tied(name)  # type: ignore[method-assign]
    untied = replace(checkpoint, source=source, tokenizer_=checkpoint.tokenizer)
    tensors = initializers(made(untied, tmp_path / "b", corpus_file))
    assert {"embeddings.word.table", "mlm.decoder.weight"} <= tensors.keys()


def test_eight_bits_are_truer_than_four_and_larger(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    kinds = {"4": {}, "nearest": {"rounding": "nearest"}, "8": {"bits": 8}}
    bundles = [made(checkpoint, tmp_path / kind, corpus_file, **options) for kind, options in kinds.items()]
    four, _, eight = bundles
    assert four.size_bytes < 0.8 * eight.size_bytes
    assert (four.manifest.min_onnxruntime, eight.manifest.min_onnxruntime) == ("1.22", "1.23")
    reference, *candidates = (load(b.folder) for b in (export(checkpoint, tmp_path / "float"), *bundles))
    layout = Layout.of(reference.tokenizer, checkpoint.config.vocab_size)
    corpus = tokenize_corpus(corpus_file, reference.tokenizer)
    batches = evaluation_batches(corpus, layout, examples=16, max_length=48, seed=0)
    compensated, nearest, bytes_ = (m["mlm.kl_mean"].value for m in measure_fidelity(reference, candidates, batches))
    assert compensated < 0.9 * nearest
    assert bytes_ < 0.2 * compensated


def test_layers_that_are_excluded_stay_float(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    bundle = made(checkpoint, tmp_path / "b", corpus_file, exclude=("mlm.decoder", "embeddings.*", "encoder.layer.0.*"))
    tensors = initializers(bundle)
    assert tensors["embeddings.word.table"].data_type == onnx.TensorProto.FLOAT
    assert tensors["encoder.layer.0.output.weight"].data_type == onnx.TensorProto.FLOAT
    assert tensors["encoder.layer.1.output.weight"].data_type == onnx.TensorProto.UINT8


def test_ranges_mean_nothing_here(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    static = quantize(checkpoint, tmp_path / "static", calibration=corpus_file)
    with pytest.raises(UsageError, match="--ranges"):
        quantize(
            checkpoint,
            tmp_path / "b",
            recipe=QuantizationRecipe(method=WeightOnly()),
            calibration=corpus_file,
            ranges=static.folder,
        )
