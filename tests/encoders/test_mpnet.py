"""MPNet: relative positions in the scores of attention, and positions that are counted from the padding's id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.encoders.mpnet import MPNET
from bertedge.errors import CheckpointError
from bertedge.graph.attention import FARTHEST, relative_bucket
from bertedge.tokenizer import Tokenizer
from tests.encoders.tiny import TEXTS, assert_equals_transformers, assert_int8_works, save

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> torch.nn.Module:
    config = transformers.MPNetConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=1,
        attn_implementation="eager",
    )
    return transformers.MPNetForMaskedLM(config)


@pytest.fixture(scope="module")
def folder(model: torch.nn.Module, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(model, tokenizer, tmp_path_factory.mktemp("mpnet"))


def test_float_graphs_equal_transformers(model: torch.nn.Module, folder: Path) -> None:
    assert_equals_transformers(model, folder)


def test_int8_works(folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    assert_int8_works(folder, corpus_file, tmp_path, TEXTS)


def test_buckets_are_those_of_transformers() -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distances = np.arange(-3 * FARTHEST, 3 * FARTHEST)
    expected = MPNetEncoder.relative_position_bucket(torch.tensor(distances), num_buckets=32)
    assert relative_bucket(distances, 32).tolist() == expected.tolist()
    beyond = relative_bucket(np.array([-FARTHEST, FARTHEST]), 32)
    assert set(relative_bucket(distances[distances < -FARTHEST], 32)) == {beyond[0]}
    assert set(relative_bucket(distances[distances > FARTHEST], 32)) == {beyond[1]}


def test_another_number_of_buckets_is_refused() -> None:
    with pytest.raises(CheckpointError, match="relative_attention_num_buckets is 16, expected 32"):
        MPNET.read_config({**MPNET.write_config(MPNET.config()), "relative_attention_num_buckets": 16})
