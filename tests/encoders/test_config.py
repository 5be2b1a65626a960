"""config.json: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.encoders import BERT, EncoderConfig, read_config, read_config_file, write_config
from bertedge.encoders.config import ACTIVATIONS
from bertedge.errors import CheckpointError, FileError

SMALL: dict[str, Any] = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
]
SHARES = ["hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"]
HUGE = 10**400
FIELDS = [*EncoderConfig.__dataclass_fields__]

any_value = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(HUGE)
    | st.floats()
    | st.text(max_size=6)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def config_of(**changes: object) -> EncoderConfig:
    """The small configuration with changes, as if read from a file."""
    return read_config({**SMALL, **changes})


def test_the_defaults_are_bert_base() -> None:
    base = BERT.config()
    assert (base.num_hidden_layers, base.hidden_size, base.num_attention_heads) == (12, 768, 12)
    assert (base.vocab_size, base.intermediate_size, base.max_position_embeddings) == (30522, 3072, 512)
    assert base.head_size == 64


def test_four_times_the_hidden_size_is_the_default_inside() -> None:
    assert config_of().intermediate_size == 128
    assert config_of(intermediate_size=50).intermediate_size == 50
    assert config_of(intermediate_size=None).intermediate_size == 128


def test_keys_of_other_tools_are_left_alone() -> None:
    assert config_of(use_cache=True, transformers_version="9", classifier_dropout=None) == config_of()


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gelu", "gelu"),
        ("gelu_python", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_fast", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("gelu_python_tanh", "gelu_tanh"),
        ("gelu_accurate", "gelu_tanh"),
        ("relu", "relu"),
        ("silu", "silu"),
        ("swish", "silu"),
    ],
)
def test_activations_by_their_many_names(name: str, function: str) -> None:
    assert config_of(hidden_act=name).activation == function


def test_every_alias_is_in_the_test_above() -> None:
    marks = [mark for mark in test_activations_by_their_many_names.pytestmark if mark.name == "parametrize"]
    assert {name for name, _ in marks[0].args[1]} == set(ACTIVATIONS)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.0, "8", True, [8], {}])
def test_a_size_is_a_whole_number_from_one(name: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=rf"config: {name} is .*expected a whole number of at least \d"):
        config_of(**{name: value})


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"])
def test_a_size_that_nobody_can_guess_must_be_there(name: str) -> None:
    for raw in ({key: value for key, value in SMALL.items() if key != name}, {**SMALL, name: None}):
        with pytest.raises(CheckpointError, match=f"config: {name} missing"):
            read_config(raw)


def test_all_missing_sizes_are_named_at_once() -> None:
    with pytest.raises(
        CheckpointError, match="hidden_size, num_attention_heads, num_hidden_layers, vocab_size missing"
    ):
        read_config({})


def test_heads_divide_the_hidden_size() -> None:
    with pytest.raises(CheckpointError, match="hidden_size 32 is not a multiple of num_attention_heads 5"):
        config_of(num_attention_heads=5)


@pytest.mark.parametrize("value", ["gelu_old", "", "GELU", 3, [], {}])
def test_an_unknown_activation_lists_the_known_ones(value: object) -> None:
    with pytest.raises(CheckpointError, match="hidden_act .* is not supported") as caught:
        config_of(hidden_act=value)
    assert "gelu_pytorch_tanh" in caught.value.hint


@pytest.mark.parametrize(
    "value", [0, 0.0, -1e-12, 1e-50, 1.5, 1e30, 10**30, float("nan"), float("inf"), "1e-12", True, HUGE, []]
)
def test_layer_norm_eps_is_a_number_above_zero(value: object) -> None:
    with pytest.raises(CheckpointError, match="layer_norm_eps is"):
        config_of(layer_norm_eps=value)


@pytest.mark.parametrize("name", ["layer_norm_eps", *SHARES])
def test_whole_numbers_become_floats(name: str) -> None:
    """ONNX knows 1 and 1.0 apart, and so does a hash of the configuration."""
    config = config_of(**{name: 1})
    assert type(getattr(config, name)) is float
    assert config == config_of(**{name: 1.0})


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.1", True, HUGE, []])
def test_a_share_is_a_number_from_zero_to_one(name: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is .*from 0 to 1"):
        config_of(**{name: value})


@pytest.mark.parametrize("value", [-1, 100, 1.0, "0", True, []])
def test_the_padding_is_a_piece_of_the_vocabulary(value: object) -> None:
    assert config_of(pad_token_id=99).pad_token_id == 99
    with pytest.raises(CheckpointError, match="pad_token_id is .*below vocab_size 100"):
        config_of(pad_token_id=value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "longformer"}, "model_type is 'longformer', which is not supported"),
        ({"model_type": None}, "model_type is 'None'"),
        ({"model_type": []}, "model_type is"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"architectures": ["LongformerModel"]}, "no model_type, and architectures names 'LongformerModel'"),
        ({"pruned_heads": {"0": [1, 2], "3": [0]}}, "attention heads were pruned in layer 0, 3"),
        ({"is_decoder": True}, "is a decoder"),
        ({"add_cross_attention": True}, "is a decoder"),
    ],
)
def test_another_architecture_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        config_of(**changes)
    assert caught.value.hint


def test_what_a_plain_bert_says_about_itself_is_fine() -> None:
    plain = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False}
    assert config_of(**plain, add_cross_attention=False, pruned_heads={}, architectures=["MyBert"]) == config_of()


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 200_000, b"[]", b'"bert"', b"null"])
def test_a_broken_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config_file(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none.json: cannot be read"):
        read_config_file(tmp_path / "none.json")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.dictionaries(st.sampled_from(FIELDS), any_value).map(json.dumps).map(str.encode))
def test_any_bytes_are_a_config_or_a_checkpoint_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    try:
        config = read_config_file(tmp_path / "config.json")
    except (CheckpointError, FileError) as error:
        assert str(error).count("\n") == 1
    else:
        assert read_config(write_config(config)) == config


@settings(max_examples=150)
@given(st.sampled_from([*FIELDS, "model_type", "position_embedding_type", "is_decoder"]), any_value)
def test_any_value_is_taken_or_a_checkpoint_error(name: str, value: object) -> None:
    try:
        config = config_of(**{name: value})
    except CheckpointError as error:
        assert "config: " in error.message
    else:
        assert config.head_size * config.num_attention_heads == config.hidden_size
        assert config.activation in ACTIVATIONS.values()


@settings(max_examples=60)
@given(
    st.builds(
        lambda heads, head_size, **rest: BERT.config(hidden_size=heads * head_size, num_attention_heads=heads, **rest),
        heads=st.integers(1, 16),
        head_size=st.integers(1, 64),
        vocab_size=st.integers(1, 10**6),
        num_hidden_layers=st.integers(1, 48),
        intermediate_size=st.integers(1, 10**5),
        hidden_act=st.sampled_from(sorted(ACTIVATIONS)),
        layer_norm_eps=st.floats(1e-15, 1.0),
        hidden_dropout_prob=st.floats(0, 1),
    )
)
def test_what_is_written_is_read_back(config: EncoderConfig) -> None:
    written = json.loads(json.dumps(write_config(config)))
    assert written["model_type"] == "bert"
    assert written["architectures"] == ["BertForPreTraining"]
    assert read_config(written) == config


def test_more_layers_than_anybody_has_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    sizes = {"vocab_size": 100, "hidden_size": 32, "num_attention_heads": 2}
    path.write_text(json.dumps({**sizes, "num_hidden_layers": 10**9}))
    with pytest.raises(CheckpointError, match="config.json: num_hidden_layers is 1000000000, expected at most"):
        read_config_file(path)


@pytest.mark.parametrize(("name", "value"), [("type_vocab_size", 1), ("max_position_embeddings", 4)])
def test_a_pair_of_texts_must_fit(name: str, value: int) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is {value}, expected a whole number of at least {value + 1}"):
        BERT.config(**{name: value})  # type: ignore[arg-type]
