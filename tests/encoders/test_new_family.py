"""A family is one file: with it, every part of bertedge runs a model that it never heard of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import ENCODERS
from bertedge.errors import CheckpointError
from bertedge.heads.parts import Parts
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe, Static
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from bertedge.train.pretrain import train
from bertedge.train.training_settings import TrainingSettings
from tests.encoders.distilbert import DISTILBERT

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
TEXTS = ["The cat sat on the mat.", "the [MASK] sat", "a dog and the [MASK] ran over the long road to the house"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A tiny random model, as ``transformers`` saves it."""
    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(0)
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64}
    config = transformers.DistilBertConfig(vocab_size=tokenizer.vocab_size, activation="relu", **sizes)
    model = transformers.DistilBertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 6)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(autouse=True)
def family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, DISTILBERT.model_type, DISTILBERT)


@torch.no_grad()
def theirs(folder: Path, tokenizer: Tokenizer, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states (S, H) and logits (S, V) of ``transformers``."""
    model = transformers.DistilBertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    output = model(torch.tensor([tokenizer.encode(text).input_ids]), output_hidden_states=True)
    return output.hidden_states[-1][0].numpy(), output.logits[0].numpy()


def test_it_is_refused_by_its_name_while_it_is_no_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ENCODERS, DISTILBERT.model_type)
    with pytest.raises(CheckpointError, match="the tensors are those of DistilBERT, which is not supported"):
        Checkpoint.read(folder)


def test_every_tensor_is_read(folder: Path) -> None:
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.parts == Parts(("mlm",))
    assert checkpoint.left_out == ()
    assert checkpoint.config.text_inputs == ("input_ids", "attention_mask")


@pytest.mark.parametrize("positions", ["masked", "all"])
def test_float_bundles_equal_transformers(folder: Path, tokenizer: Tokenizer, tmp_path: Path, positions: str) -> None:
    runtime = load(export(folder, tmp_path / "bundle", positions=positions).folder)
    for text in TEXTS:
        states, logits = theirs(folder, tokenizer, text)
        np.testing.assert_allclose(runtime.encode(text, pooling="none"), states, atol=1e-4)
        if tokenizer.mask_token in text:
            place = tokenizer.encode(text).input_ids.index(tokenizer.id_of("mask"))
            best = runtime.fill_mask(text, top_k=3)[0]
            assert [guess.token_id for guess in best] == np.argsort(-logits[place])[:3].tolist()
            expected = np.exp(logits[place]) / np.exp(logits[place]).sum()
            assert [guess.probability for guess in best] == pytest.approx(np.sort(expected)[:-4:-1], abs=1e-4)
    assert verify(tmp_path / "bundle").passed


def test_only_bert_is_trained(folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="DistilBERT models can be quantized, but not trained"):
        train(corpus_file, tmp_path / "out", TrainingSettings(steps=1), init=folder)


def test_quantized_bundles_are_made_and_verified(folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    recipe = QuantizationRecipe(method=Static(num_examples=4, max_length=48))
    bundle = quantize(folder, tmp_path / "bundle", recipe=recipe, calibration=corpus_file)
    assert bundle.manifest.coverage.macs > 0.9
    in_float = load(export(folder, tmp_path / "float").folder).encode(TEXTS)
    runtime = load(bundle.folder)
    for mine, its in zip(runtime.encode(TEXTS), in_float, strict=True):
        assert mine @ its / np.linalg.norm(mine) / np.linalg.norm(its) > 0.99
    assert verify(bundle.folder).passed
