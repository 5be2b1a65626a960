"""The contract of the tables: what holds for every row."""

from __future__ import annotations

import json

import pytest

from bertedge.checkpoint.fit import refuse_other_family
from bertedge.encoders import ENCODERS, Encoder, names, read_config, write_config
from bertedge.encoders.others import OTHER_CLASSES
from bertedge.errors import CheckpointError

SIZES = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}


@pytest.fixture(params=ENCODERS.values(), ids=ENCODERS.keys())
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return request.param


def test_encoders_are_found_by_their_model_type() -> None:
    assert all(model_type == row.model_type for model_type, row in ENCODERS.items())
    for field in ("title", "class_prefix"):
        assert len({getattr(row, field) for row in ENCODERS.values()}) == len(ENCODERS)


def test_an_encoders_config_is_read_back(encoder: Encoder) -> None:
    for config in (encoder.config(), encoder.config(**SIZES)):
        written = json.loads(json.dumps(write_config(config)))
        assert read_config(written) == config
        del written["model_type"]
        assert read_config(written) == config  # by the name of the class
    assert encoder.architecture.startswith(encoder.class_prefix)
    with pytest.raises(CheckpointError, match=encoder.keys["num_hidden_layers"]):
        encoder.read_config({key: value for key, value in written.items() if key != encoder.keys["num_hidden_layers"]})


def test_an_encoders_tensor_names_are_translated(encoder: Encoder) -> None:
    config = encoder.config(**SIZES)
    shapes = names.encoder_shapes(config) | names.pooler_shapes(config)
    for name in shapes:
        assert encoder.names.canonical(name) == name
        assert encoder.names.canonical(encoder.names.written(name)) == name
        assert encoder.names.is_inside(name)
        assert not name.startswith(encoder.names.prefix)
    refuse_other_family("itself", [*map(encoder.names.written, shapes)], encoder)


def test_what_is_refused_has_no_row() -> None:
    """A prefix such as ``Bert`` would hide others; a row comes first, so it may be in the list of other classes too."""
    for row in ENCODERS.values():
        assert not [name for name in OTHER_CLASSES if name != row.class_prefix and name.startswith(row.class_prefix)]
