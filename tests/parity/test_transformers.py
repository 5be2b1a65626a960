"""Parity with ``transformers``: our torch model, our checkpoints, our graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.heads.parts import Parts
from bertedge.quantization import export
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer
from bertedge.train.model import BertForPreTraining
from tests.conftest import random_tensors

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def both(folder: Path) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """MLM logits at real tokens and NSP logits, ours and theirs, of one padded batch."""
    checkpoint = Checkpoint.read(folder)
    ours = BertForPreTraining.from_checkpoint(checkpoint).eval()
    theirs = transformers.BertForPreTraining.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(checkpoint.config.vocab_size, (3, 24), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    segments = torch.zeros_like(ids)
    segments[:, 12:] = 1
    with torch.no_grad():
        got = ours(ids, mask, segments, mask.flatten().nonzero().flatten())
        expected = theirs(ids, attention_mask=mask, token_type_ids=segments)
    real = expected.prediction_logits[mask.bool()]
    return (got.logits["mlm"], got.logits["nsp"]), (real, expected.seq_relationship_logits)


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu"])
def test_random_tiny_model(config: EncoderConfig, tokenizer: Tokenizer, hidden_act: str, tmp_path: Path) -> None:
    shape = replace(config, hidden_act=hidden_act)
    write_checkpoint(tmp_path, shape, random_tensors(shape, Parts(("mlm", "nsp"))), tokenizer)
    for got, expected in zip(*both(tmp_path), strict=True):
        assert (got - expected).abs().max() < 1e-5


def test_english_l6(english_l6: Path) -> None:
    for got, expected in zip(*both(english_l6), strict=True):
        assert (got - expected).abs().max() < 1e-5


def test_the_runtime_fills_masks_as_their_pipeline_does(model_folder: Path, tmp_path: Path) -> None:
    export(model_folder, tmp_path / "bundle")
    text = "The cat [MASK] on the mat."
    (ours,) = load(tmp_path / "bundle").fill_mask(text, top_k=5)
    model = transformers.BertForMaskedLM.from_pretrained(model_folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    theirs = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer, top_k=5)(text)
    assert [fill.token_id for fill in ours] == [fill["token"] for fill in theirs]
    assert np.allclose([fill.probability for fill in ours], [fill["score"] for fill in theirs], atol=1e-5)
