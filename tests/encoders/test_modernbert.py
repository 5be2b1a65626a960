"""ModernBERT: rotary positions, local and global attention, norms in front, gated feed-forward, no biases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import read_config
from bertedge.encoders.config import GLOBAL, LOCAL
from bertedge.encoders.modernbert import MODERNBERT
from bertedge.errors import CheckpointError
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.inspect import bytes_by_part
from bertedge.heads.sequence_settings import sequence_settings
from bertedge.heads.structure import Found
from bertedge.tokenizer import Tokenizer
from tests.encoders.tiny import (
    LENGTHS,
    TEXTS,
    assert_equals_transformers,
    assert_int8_works,
    batch,
    save,
    session,
)

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def tiny(tokenizer: Tokenizer, **settings: Any) -> torch.nn.Module:
    """Four blocks, of which the first and the last attend to the whole text, the others to four tokens on each side."""
    config = transformers.ModernBertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        local_attention=8,
        **{f"{name}_token_id": tokenizer.id_of(name) for name in ("pad", "cls", "sep")},
        attn_implementation="eager",
        **settings,
    )
    return transformers.ModernBertForMaskedLM(config)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> torch.nn.Module:
    return tiny(tokenizer)


@pytest.fixture(scope="module")
def folder(model: torch.nn.Module, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(model, tokenizer, tmp_path_factory.mktemp("modernbert"))


def test_float_graphs_equal_transformers(model: torch.nn.Module, folder: Path) -> None:
    assert_equals_transformers(model, folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_types": [LOCAL, GLOBAL, GLOBAL, LOCAL]},
        {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True},
        {"decoder_bias": False, "hidden_activation": "silu", "classifier_activation": "relu"},
        {"tie_word_embeddings": False},
    ],
    ids=["the last block is local", "biases", "no bias in the decoder", "an own decoder"],
)
def test_its_settings_are_followed(settings: dict[str, Any], tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = tiny(tokenizer, **settings)
    assert_equals_transformers(model, save(model, tokenizer, tmp_path))


def test_int8_works(folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    assert_int8_works(folder, corpus_file, tmp_path, TEXTS)


def test_positions_and_the_last_norm_are_a_part_of_their_own(folder: Path) -> None:
    checkpoint = Checkpoint.read(folder)
    sizes = bytes_by_part(build_graph(checkpoint, {}))
    tables, half, norm = 4, checkpoint.config.head_size // 2, 2 * checkpoint.config.hidden_size
    assert sizes["encoder"] == 4 * (tables * checkpoint.config.max_length * half + norm)
    assert {f"encoder.layer.{index}" for index in range(4)} < sizes.keys()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_classifiers_read_what_their_config_says(pooling: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    settings = {"classifier_pooling": pooling, "classifier_activation": "silu", "num_labels": 3}
    model = transformers.ModernBertForSequenceClassification(tiny(tokenizer, **settings).config)
    checkpoint = Checkpoint.read(save(model, tokenizer, tmp_path))
    assert (checkpoint.heads, checkpoint.left_out) == (("sequence_classification",), ())
    texts = batch(checkpoint.config.vocab_size, checkpoint.config.pad_token_id)
    with torch.no_grad():
        expected = model.eval()(**{name: torch.tensor(values) for name, values in texts.items()}).logits.numpy()
    masked = {"masked_positions": np.zeros((len(LENGTHS), 0), dtype=np.int64)}
    got = {
        "all": session(checkpoint, tmp_path, "all").run(["logits"], texts)[0],
        "masked": session(checkpoint, tmp_path, "masked").run(["sequence_classification_logits"], texts | masked)[0],
    }
    for logits in got.values():
        np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("pooling", ["max", ["mean"]])
def test_another_pooling_is_refused(pooling: object) -> None:
    tensors = {"classifier.weight": (3, 768)}
    found = Found(config=MODERNBERT.config(), tensors=tensors, raw={"classifier_pooling": pooling})
    with pytest.raises(CheckpointError, match="classifier_pooling is .* expected 'cls' or 'mean'"):
        sequence_settings(found)


def raw(**changes: Any) -> dict[str, Any]:
    """The content of a ``config.json``."""
    return {**MODERNBERT.write_config(MODERNBERT.config()), **changes}


def test_configs_of_both_forms_are_read() -> None:
    """Those of ``transformers`` 4.48, as the published models have them, and those of 5."""
    shared = {"model_type": "modernbert", "vocab_size": 50368, "hidden_size": 768, "num_attention_heads": 12}
    shared |= {"num_hidden_layers": 22, "intermediate_size": 1152, "local_attention": 64}
    old = shared | {"global_attn_every_n_layers": 2, "global_rope_theta": 16e4, "local_rope_theta": 2e4}
    config = transformers.ModernBertConfig(**old)
    read = read_config(old)
    assert read == read_config(config.to_dict())
    assert read.layer_types == tuple(config.layer_types)
    assert (read.rope_theta, read.local_rope_theta, read.local_attention) == (16e4, 2e4, 64)
    assert read_config(shared).layer_types == tuple(transformers.ModernBertConfig(**shared).layer_types)


def test_of_two_bases_the_one_of_the_rope_parameters_counts() -> None:
    ropes = {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in ((GLOBAL, 5e4), (LOCAL, 5e3))}
    both = raw(global_rope_theta=16e4, local_rope_theta=1e4, rope_parameters=ropes)
    theirs = transformers.ModernBertConfig(**json.loads(json.dumps(both))).rope_parameters
    read = read_config(both)
    assert (read.rope_theta, read.local_rope_theta) == tuple(theirs[kind]["rope_theta"] for kind in (GLOBAL, LOCAL))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rope_parameters": {GLOBAL: {"rope_type": "yarn", "rope_theta": 1e4}}}, "rope_type is 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "rope_type is 'linear'"),
        ({"layer_types": [GLOBAL]}, "layer_types is .* for each of the 22 layers"),
        ({"layer_types": ["chunked"] * 22}, "layer_types is"),
        ({"layer_types": 7}, "layer_types is 7"),
        ({"local_attention": 1}, "local_attention is 1, expected at least 2"),
        ({"global_rope_theta": "x"}, "global_rope_theta is 'x', expected a number above 1"),
        ({"local_rope_theta": 0}, "local_rope_theta is 0, expected"),
        ({"local_rope_theta": [], "layer_types": [GLOBAL] * 22}, r"local_rope_theta is \[\], expected"),
        ({"mlp_bias": "no"}, "mlp_bias is 'no', expected true or false"),
        ({"classifier_activation": "tanh"}, "classifier_activation 'tanh' is not supported"),
        ({"classifier_activation": {}}, "classifier_activation {} is not supported"),
        ({"hidden_size": 36}, "attention heads of 3 channels cannot be rotated"),
        ({"num_hidden_layers": "x"}, "num_hidden_layers is 'x'"),
    ],
)
def test_what_cannot_be_used_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_config(raw(**changes))


def test_a_fused_tensor_that_has_no_equal_parts_does_not_fit(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.attn.Wqkv.weight"] = tensors["model.layers.1.attn.Wqkv.weight"][:-1]
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"3 tensors do not fit config.json: .*1\.attention\.self\.query"):
        Checkpoint.read(tmp_path / "model")


def test_the_parts_of_fused_tensors_are_found_in_any_layout(
    model: torch.nn.Module, folder: Path, tmp_path: Path
) -> None:
    """torch also saves tensors whose columns are next to each other in the file."""
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    by_columns = {name: values.t().contiguous().t() for name, values in model.state_dict().items() if values.ndim == 2}
    torch.save(model.state_dict() | by_columns, tmp_path / "model" / "pytorch_model.bin")
    expected, got = Checkpoint.read(folder), Checkpoint.read(tmp_path / "model")
    for name, values in expected.tensors():
        np.testing.assert_array_equal(got.tensor(name), values, err_msg=name)
