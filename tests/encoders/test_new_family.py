"""A family is one file: with it, every part of bertedge runs a model that it never heard of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import ENCODERS, Encoder
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
from tests.encoders.roberta import ROBERTA

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
TEXTS = ["The cat sat on the mat.", "the [MASK] sat", "a dog and the [MASK] ran over the long road to the house"]
#: A row, the name of its classes, and the sizes of a tiny model.
FAMILIES = {
    "distilbert": (DISTILBERT, "DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    "roberta": (
        ROBERTA,
        "Roberta",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    ),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, family: str) -> Path:
    """A tiny random model, as ``transformers`` saves it."""
    folder = tmp_path_factory.mktemp(family)
    torch.manual_seed(0)
    _, name, sizes = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=tokenizer.vocab_size, max_position_embeddings=64, pad_token_id=tokenizer.id_of("pad"), **sizes
    )
    model = getattr(transformers, f"{name}ForMaskedLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 6)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(autouse=True)
def row(family: str, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The family is in the table."""
    row = FAMILIES[family][0]
    monkeypatch.setitem(ENCODERS, row.model_type, row)
    return row


@torch.no_grad()
def theirs(folder: Path, tokenizer: Tokenizer, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states (S, H) and logits (S, V) of ``transformers``."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    output = model(torch.tensor([tokenizer.encode(text).input_ids]), output_hidden_states=True)
    return output.hidden_states[-1][0].numpy(), output.logits[0].numpy()


def test_it_is_refused_by_its_name_while_it_is_no_row(
    folder: Path, row: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ENCODERS, row.model_type)
    with pytest.raises(CheckpointError, match=f"the tensors are those of {row.title}, which is not supported"):
        Checkpoint.read(folder)


def test_every_tensor_is_read(folder: Path, row: Encoder) -> None:
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.parts == Parts(("mlm",))
    assert checkpoint.left_out == ()
    assert ("token_type_ids" in checkpoint.config.text_inputs) == (row.segments > 0)
    assert checkpoint.config.max_length == 64 - checkpoint.config.position_offset


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


def test_a_wrong_size_is_told_in_the_keys_of_the_file(row: Encoder) -> None:
    key = row.keys["hidden_size"]
    with pytest.raises(
        CheckpointError, match=f"config: {key} 7 is not a multiple of {row.keys['num_attention_heads']} 2"
    ):
        row.read_config({**row.write_config(row.config()), key: 7, row.keys["num_attention_heads"]: 2})


def test_only_bert_is_trained(folder: Path, row: Encoder, corpus_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{row.title} models can be quantized, but not trained"):
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
