"""Tiny random models of ``transformers``, and their outputs next to those of bertedge's graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.writer import Positions
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from tests.graph_arithmetic import GraphModel

Arrays = dict[str, np.ndarray]
#: Tokens of the texts of one batch: the shortest pair, and some that are longer than the tests' local windows.
LENGTHS = (5, 9, 23, 58)
TEXTS = ["The cat sat on the mat.", "the dog", "a dog and the cat ran over the long road to the house by the river"]
#: Positions of each text that are read.
READ = np.array([[1, 3], [8, 0], [22, 11], [57, 30]])


def save(model: torch.nn.Module, tokenizer: Tokenizer, folder: Path) -> Path:
    """Save a model whose weights are random numbers, large enough that texts and positions differ clearly."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator) / 5
            parameter.copy_(values + 1 if "norm" in name.lower() and name.endswith("weight") else values)
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save(folder)
    return folder


def batch(vocabulary: int, padding: int) -> Arrays:
    """``input_ids`` and ``attention_mask`` (B, S) of texts of :data:`LENGTHS` tokens, padded at the end."""
    rng = np.random.default_rng(0)
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    ids = np.where(mask, rng.integers(5, vocabulary, mask.shape), padding)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


@torch.no_grad()
def theirs(model: Any, texts: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states (B, S, H) and logits (B, S, V) of ``transformers``."""
    model.eval()
    outputs = model(**{name: torch.tensor(values) for name, values in texts.items()}, output_hidden_states=True)
    return outputs.hidden_states[-1].numpy(), outputs.logits.numpy()


def session(checkpoint: Checkpoint, folder: Path, positions: Positions) -> ort.InferenceSession:
    """The float graph of a checkpoint."""
    path = folder / f"{positions}.onnx"
    build_graph(checkpoint, {}, positions=positions).builder.write(path)
    return ort.InferenceSession(str(path))


def with_segments(checkpoint: Checkpoint, texts: Arrays) -> Arrays:
    """The inputs of a graph: token types are zero where the family has them."""
    zeros = {"token_type_ids": np.zeros_like(texts["input_ids"])}
    return texts | (zeros if checkpoint.config.type_vocab_size else {})


def assert_equals_transformers(model: Any, folder: Path, within: float = 1e-4) -> None:
    """Compare both graphs of a saved model: every position, read positions, and each text without padding."""
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.left_out == ()
    texts = batch(checkpoint.config.vocab_size, checkpoint.config.pad_token_id)
    states, logits = theirs(model, texts)
    feed, real = with_segments(checkpoint, texts), texts["attention_mask"] == 1

    everywhere = session(checkpoint, folder, "all")
    got = everywhere.run(["last_hidden_state", "logits"], feed)
    np.testing.assert_allclose(got[0][real], states[real], atol=within)
    np.testing.assert_allclose(got[1][real], logits[real], atol=within)

    where_read = session(checkpoint, folder, "masked")
    got = where_read.run(["mlm_logits"], feed | {"masked_positions": READ})
    np.testing.assert_allclose(got[0], np.take_along_axis(logits, READ[..., None], axis=1), atol=within)
    for row, length in enumerate(LENGTHS):
        alone = {name: values[row : row + 1, :length] for name, values in feed.items()}
        positions = {"masked_positions": READ[row : row + 1], "hidden_positions": np.arange(length)}
        got = where_read.run(["hidden_states", "mlm_logits"], alone | positions)
        np.testing.assert_allclose(got[0][0], states[row, :length], atol=within)
        np.testing.assert_allclose(got[1][0], logits[row, READ[row]], atol=within)


def assert_int8_works(folder: Path, corpus: Path, scratch: Path, texts: list[str]) -> None:
    """Quantize by the default recipe for both kinds of graph, and verify, run and compare the bundles."""
    in_float = load(export(folder, scratch / "float").folder).encode(texts)
    vectors = []
    for positions in ("masked", "all"):
        recipe = QuantizationRecipe(method=Static(examples=4, max_length=48))
        made = quantize(folder, scratch / positions, recipe=recipe, calibration=corpus, positions=positions)
        assert made.manifest.coverage.macs > 0.9
        assert verify(made.folder).passed
        runtime = load(made.folder)
        vectors.append(runtime.encode(texts))
        for row, text in enumerate(texts):
            assert np.abs(runtime.encode([text])[0] - vectors[-1][row]).max() < 1e-5  # it does not depend on the others
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-5
    for mine, its in zip(vectors[0], in_float, strict=True):
        assert mine @ its / np.linalg.norm(mine) / np.linalg.norm(its) > 0.98
    assert_the_plan_computes(scratch / "masked", texts)


def assert_the_plan_computes(folder: Path, texts: list[str]) -> None:
    """``plan.json`` is enough to compute the hidden states of a bundle."""
    runtime, model = load(folder, engine="onnxruntime"), GraphModel(folder)
    for text in texts:
        encoding = runtime.tokenizer.encode(text)
        expected = runtime.encode(text, pooling="none")
        got = model.outputs(encoding.input_ids, encoding.token_type_ids, [1])["hidden_states"]
        assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()
