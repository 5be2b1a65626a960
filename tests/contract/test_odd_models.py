"""Every method on models that are built unlike others, or hold weights that no training should leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders import BERT, EncoderConfig
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.heads.parts import Parts
from bertedge.quantization import export, quantize
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from bertedge.tokenizer import Tokenizer
from tests.conftest import DOCUMENTS, random_tensors

HEADS = Parts(("mlm", "nsp"))
#: layers, hidden size, heads, inner size, pieces
SHAPES = {
    "2 x 128": (2, 128, 2, 512, 300),
    "24 layers": (24, 32, 2, 64, 300),
    "one layer": (1, 32, 2, 64, 300),
    "width of no round number": (2, 72, 6, 100, 300),
    "odd width": (2, 35, 5, 51, 300),
    "as few pieces as there can be": (2, 32, 2, 64, 0),
    "120,000 pieces": (2, 16, 2, 32, 120_000),
}


def made(folder: Path, shape: tuple[int, int, int, int, int], tokenizer: Tokenizer) -> Checkpoint:
    layers, hidden, heads, inner, pieces = shape
    config = BERT.config(
        vocab_size=max(pieces, tokenizer.vocab_size),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=64,
    )
    return written(folder, config, random_tensors(config, HEADS), tokenizer)


def written(folder: Path, config: EncoderConfig, tensors: dict[str, np.ndarray], tokenizer: Tokenizer) -> Checkpoint:
    folder.mkdir()
    write_checkpoint(folder, config, tensors, tokenizer)
    return Checkpoint.read(folder)


def check(checkpoint: Checkpoint, method: str, corpus_file: Path, tmp_path: Path, *, kl: float = 0.05) -> None:
    """The bundle replays its golden vectors, is finite, and keeps near to float."""
    reference = load(export(checkpoint, tmp_path / "float").folder)
    recipe = QuantizationRecipe(method=METHODS[method]())
    candidate = load(quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file).folder)
    assert verify(candidate).passed
    corpus = tokenize_corpus(corpus_file, checkpoint.tokenizer)
    layout = Layout.of(reference.tokenizer, checkpoint.config.vocab_size)
    batches = evaluation_batches(corpus, layout, examples=24, max_length=48, seed=0)
    (metrics,) = measure_fidelity(reference, [candidate], batches)
    assert np.isfinite([value.value for value in metrics.values()]).all()
    assert metrics["mlm.kl_mean"].value < kl
    assert metrics["nsp.prob_mae"].value < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, method: str, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path) -> None:
    checkpoint = made(tmp_path / "model", SHAPES[name], tokenizer)
    check(checkpoint, method, corpus_file, tmp_path, kl=0.2 if name == "24 layers" else 0.05)


@pytest.mark.parametrize("method", METHODS)
def test_a_vocabulary_of_less_than_100(method: str, tmp_path: Path) -> None:
    lines = ["ab ba aab", "bab ab a", "abba ba b", "b ab baba"]
    corpus_file = tmp_path / "corpus.txt"
    corpus_file.write_text("\n\n".join("\n".join(lines[i:] + lines[:i]) for i in range(4)) + "\n")
    tokenizer = Tokenizer.train(lines * 4, vocab_size=100, max_length=64)
    assert tokenizer.vocab_size <= 100
    check(made(tmp_path / "model", (2, 32, 2, 64, 100), tokenizer), method, corpus_file, tmp_path)


def dead(tensors: dict[str, np.ndarray]) -> None:
    """Channels that are zero, and next to zero, behind a layer norm; a unit that is always zero."""
    for name in tensors:
        if name.endswith("LayerNorm.weight") or name.endswith("LayerNorm.bias"):
            tensors[name][[0, 1]] = 0.0
            tensors[name][[2, 3]] *= 1e-7
    tensors["encoder.layer.0.intermediate.dense.weight"][5] = 0.0
    tensors["encoder.layer.0.intermediate.dense.bias"][5] = 0.0


def constant(tensors: dict[str, np.ndarray]) -> None:
    """Channels that have the same value in every text, small and large."""
    for name in tensors:
        if name.endswith("LayerNorm.weight") and "predictions" not in name:
            tensors[name][[4, 9]] = 0.0
        if name.endswith("LayerNorm.bias") and "predictions" not in name:
            tensors[name][[4, 9]] = [0.5, 20.0]


def huge(tensors: dict[str, np.ndarray]) -> None:
    """One weight of every matrix is far larger than all others."""
    for name, values in tensors.items():
        if "encoder" in name and name.endswith("dense.weight"):
            values[3, 5] = 40 * np.abs(values).max()


def nothing(tensors: dict[str, np.ndarray]) -> None:
    """A whole layer of zeros."""
    for name in ("attention.output.dense.weight", "attention.output.dense.bias", "attention.self.query.weight"):
        tensors[f"encoder.layer.1.{name}"][:] = 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change", [dead, constant, huge, nothing])
def test_weights(
    change: Callable[[dict[str, np.ndarray]], None],
    method: str,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    corpus_file: Path,
    tmp_path: Path,
) -> None:
    tensors = random_tensors(config, HEADS)
    change(tensors)
    check(written(tmp_path / "model", config, tensors, tokenizer), method, corpus_file, tmp_path)


def test_texts_that_were_not_calibrated_on(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    """Ranges of four documents still hold for words that are in none of them."""
    bundle = load(quantize(checkpoint, tmp_path / "b", calibration=corpus_file).folder)
    reference = load(export(checkpoint, tmp_path / "f").folder)
    text = " ".join(reversed(" ".join(" ".join(document) for document in DOCUMENTS).split()))[:200] + " [MASK]."
    (ours,), (theirs,) = bundle.fill_mask(text, top_k=1), reference.fill_mask(text, top_k=1)
    assert abs(ours[0].probability - theirs[0].probability) < 0.1
