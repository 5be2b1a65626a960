"""Configurations that are BERTs, and those that are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertedge.config import ACTIVATIONS, BertConfig
from bertedge.errors import CheckpointError

BASE = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_round_trip() -> None:
    config = BertConfig.from_dict({**BASE, "architectures": ["X"], "torch_dtype": "float16"})
    assert BertConfig.from_dict(config.to_dict()) == config
    assert config.intermediate_size == 128
    assert config.head_size == 8


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_name(name: str) -> None:
    assert BertConfig(**BASE, hidden_act=name).activation in ("gelu", "gelu_tanh", "relu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 30}, "not a multiple"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"hidden_act": "swish"}, "swish"),
        ({"layer_norm_eps": 0}, "layer_norm_eps"),
        ({"model_type": "gpt2"}, "gpt2"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"is_decoder": True}, "decoder"),
    ],
)
def test_what_is_not_a_bert(change: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        BertConfig.from_dict({**BASE, **change})


def test_missing_sizes_are_all_named() -> None:
    with pytest.raises(CheckpointError, match="hidden_size, num_attention_heads, num_hidden_layers missing"):
        BertConfig.from_dict({"vocab_size": 1})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", json.dumps({"vocab_size": 3}).encode()])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError):
        BertConfig.read(tmp_path / "config.json")
