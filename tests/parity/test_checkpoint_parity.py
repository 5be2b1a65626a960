"""Checkpoints go to ``transformers`` and come back, and both models compute the same."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.encoders import BERT, EncoderConfig, names, write_config
from bertedge.encoders.config import ACTIVATIONS
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from bertedge.train.model import BertForPreTraining
from tests.conftest import random_tensors

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

HEADS = Parts(("mlm", "nsp"))


def theirs_of(folder: Path) -> torch.nn.Module:
    """The folder as ``transformers`` loads it, which must neither miss a tensor nor find one too many."""
    model, info = transformers.BertForPreTraining.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return model.eval()


def inputs_of(config: EncoderConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask and segments of three rows; one is full, one padded, one a single token."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(config.vocab_size, (3, 20), generator=generator)
    mask = (torch.arange(20) < torch.tensor([[20], [11], [1]])).long()
    return ids, mask, (torch.arange(20) >= 6).long().expand(3, -1)


@torch.no_grad()
def assert_same(folder: Path, tolerance: float = 1e-5) -> None:
    """Both heads and every hidden state agree at all real tokens."""
    ours = BertForPreTraining.from_checkpoint(Checkpoint.read(folder)).eval()
    ids, mask, segments = inputs_of(ours.config)
    real = mask.bool()
    got = ours(ids, mask, segments, mask.flatten().nonzero().flatten())
    expected = theirs_of(folder)(ids, attention_mask=mask, token_type_ids=segments, output_hidden_states=True)
    assert len(got.hidden_states) == len(expected.hidden_states) == ours.config.num_hidden_layers + 1
    for state, other in zip(got.hidden_states, expected.hidden_states, strict=True):
        assert (state - other)[real].abs().max() < tolerance
    torch.testing.assert_close(got.logits["mlm"], expected.prediction_logits[real], rtol=tolerance, atol=tolerance)
    assert (got.logits["nsp"] - expected.seq_relationship_logits).abs().max() < tolerance


@pytest.mark.parametrize("hidden_act", sorted(set(ACTIVATIONS)))
def test_every_activation(config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path, hidden_act: str) -> None:
    shape = replace(config, hidden_act=hidden_act)
    write_checkpoint(tmp_path, shape, random_tensors(shape, HEADS), tokenizer)
    assert_same(tmp_path)


@pytest.mark.parametrize("heads", [HEADS, replace(HEADS, tied=False)], ids=["tied", "untied"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_we_write_they_load(
    config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path, heads: Parts, dtype: str
) -> None:
    write_checkpoint(tmp_path, config, random_tensors(config, heads), tokenizer, dtype=dtype)
    assert_same(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_what_they_write_we_load(config: EncoderConfig, tmp_path: Path, tied: bool) -> None:
    fields = write_config(config)
    torch.manual_seed(0)
    model = transformers.BertForPreTraining(transformers.BertConfig(**fields, tie_word_embeddings=tied))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 8)
    model.save_pretrained(tmp_path)
    checkpoint = Checkpoint.read(tmp_path)
    assert checkpoint.config == config
    assert checkpoint.left_out == ()
    assert checkpoint.parts.tied is tied
    assert_same(tmp_path)


def test_their_table_of_tensors_is_ours(config: EncoderConfig) -> None:
    fields = write_config(config)
    model = transformers.BertForPreTraining(transformers.BertConfig(**fields))
    theirs = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    ours = {BERT.names.written(name): shape for name, shape in HEADS.shapes(config).items()}
    assert {name: shape for name, shape in theirs.items() if "decoder" not in name} == ours


def test_an_mlm_only_model_of_theirs(config: EncoderConfig, tmp_path: Path) -> None:
    fields = write_config(config)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**fields)).eval()
    model.save_pretrained(tmp_path)
    checkpoint = Checkpoint.read(tmp_path)
    assert checkpoint.parts == Parts(("mlm",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = BertForPreTraining.from_checkpoint(checkpoint).eval()
    ids, mask, segments = inputs_of(config)
    with torch.no_grad():
        got = ours(ids, mask, segments, mask.flatten().nonzero().flatten()).logits["mlm"]
        expected = model(ids, attention_mask=mask, token_type_ids=segments).logits[mask.bool()]
    assert (got - expected).abs().max() < 1e-5


def test_a_real_checkpoint(english_l6: Path) -> None:
    assert_same(english_l6)


def test_a_checkpoint_comes_back_bit_by_bit(checkpoint: Checkpoint, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = BertForPreTraining.from_checkpoint(checkpoint)
    arrays = {name: tensor.numpy() for name, tensor in model.float_tensors().items()}
    write_checkpoint(tmp_path, checkpoint.config, arrays, tokenizer)
    again = Checkpoint.read(tmp_path)
    assert again.parts == checkpoint.parts
    for name, tensor in checkpoint.tensors():
        np.testing.assert_array_equal(again.tensor(name), tensor)
    assert names.DECODER not in again.source.shapes
