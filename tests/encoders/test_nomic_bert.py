"""NomicBERT: rotary positions and a gated feed-forward network between BERT's layer norms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bertedge.encoders import read_config
from bertedge.encoders.nomic_bert import NOMIC_BERT
from bertedge.errors import CheckpointError
from bertedge.tokenizer import Tokenizer
from tests.encoders.tiny import TEXTS, assert_equals_transformers, assert_int8_works, save

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("transformers.models.nomic_bert", reason="this transformers has no NomicBERT")


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> torch.nn.Module:
    config = transformers.NomicBertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    return transformers.NomicBertForMaskedLM(config)


@pytest.fixture(scope="module")
def folder(model: torch.nn.Module, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(model, tokenizer, tmp_path_factory.mktemp("nomic"))


def test_float_graphs_equal_transformers(model: torch.nn.Module, folder: Path) -> None:
    assert_equals_transformers(model, folder)


def test_int8_works(folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    assert_int8_works(folder, corpus_file, tmp_path, TEXTS)


def test_names_in_memory_and_in_files_are_the_same_tensors(model: torch.nn.Module, folder: Path) -> None:
    from safetensors.numpy import load_file

    stored = {part for name in load_file(folder / "model.safetensors") for part in NOMIC_BERT.names.parts(name)}
    in_memory = {part for name in model.state_dict() for part in NOMIC_BERT.names.parts(name)}
    assert in_memory - stored == {"cls.predictions.decoder.weight"}  # tied
    assert stored <= in_memory


#: As the published models have it, with the keys of Nomic's own code.
PUBLISHED = {
    "model_type": "nomic_bert",
    "vocab_size": 30528,
    "n_embd": 96,
    "n_layer": 3,
    "n_head": 4,
    "n_inner": 128,
    "n_positions": 8192,
    "layer_norm_epsilon": 1e-12,
    "type_vocab_size": 2,
    "activation_function": "swiglu",
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_scaling_factor": None,
}


def test_keys_of_nomics_own_code_are_read() -> None:
    config = read_config(PUBLISHED)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (96, 3, 4)
    assert (config.intermediate_size, config.max_length, config.rope_theta) == (128, 8192, 1000)
    assert read_config(NOMIC_BERT.write_config(config)) == config


def test_of_two_bases_the_one_of_the_rope_parameters_counts() -> None:
    written = NOMIC_BERT.write_config(read_config(PUBLISHED))
    both = {**written, "rope_theta": 1000.0, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}
    assert read_config(both).rope_theta == transformers.NomicBertConfig(**both).rope_parameters["rope_theta"] == 50.0


def test_a_key_that_is_null_does_not_hide_nomics_own() -> None:
    assert read_config({**PUBLISHED, "hidden_size": None}).hidden_size == 96


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation_function": "gelu"}, "activation_function is 'gelu', expected 'swiglu'"),
        ({"causal": True}, "causal is 'True', expected False"),
        ({"rotary_emb_scale_base": 512}, "rotary_emb_scale_base is '512', expected None"),
        ({"moe_every_n_layers": 2}, "moe_every_n_layers is '2'"),
        ({"rotary_scaling_factor": 2.0}, "rotary_scaling_factor is '2.0'"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000}}, "rope_type is 'dynamic'"),
        ({"head_dim": 16}, "head_dim is 16, but 4 heads"),
    ],
)
def test_variants_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_config({**PUBLISHED, **changes})
