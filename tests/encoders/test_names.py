"""Names of other tools end here, and every tensor of a BERT has one name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.encoders import BERT, ENCODERS
from bertedge.encoders.foreign_names import IGNORED
from bertedge.encoders.names import (
    DECODER,
    DECODER_BIAS,
    NSP,
)
from bertedge.heads.parts import Parts

HEADS = Parts(("mlm", "nsp"))
TWO_LAYERS = BERT.config(vocab_size=9, hidden_size=4, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6)

#: The variables that Google's run_pretraining.py writes, in the shapes that it gives them.
TENSORFLOW_VARIABLES: dict[str, tuple[int, ...]] = {
    "bert/embeddings/word_embeddings": (9, 4),
    "bert/embeddings/token_type_embeddings": (2, 4),
    "bert/embeddings/position_embeddings": (512, 4),
    "bert/embeddings/LayerNorm/beta": (4,),
    "bert/embeddings/LayerNorm/gamma": (4,),
    "bert/encoder/layer_0/attention/self/query/kernel": (4, 4),
    "bert/encoder/layer_0/attention/self/query/bias": (4,),
    "bert/encoder/layer_0/attention/self/key/kernel": (4, 4),
    "bert/encoder/layer_0/attention/self/key/bias": (4,),
    "bert/encoder/layer_0/attention/self/value/kernel": (4, 4),
    "bert/encoder/layer_0/attention/self/value/bias": (4,),
    "bert/encoder/layer_0/attention/output/dense/kernel": (4, 4),
    "bert/encoder/layer_0/attention/output/dense/bias": (4,),
    "bert/encoder/layer_0/attention/output/LayerNorm/beta": (4,),
    "bert/encoder/layer_0/attention/output/LayerNorm/gamma": (4,),
    "bert/encoder/layer_0/intermediate/dense/kernel": (4, 6),
    "bert/encoder/layer_0/intermediate/dense/bias": (6,),
    "bert/encoder/layer_0/output/dense/kernel": (6, 4),
    "bert/encoder/layer_0/output/dense/bias": (4,),
    "bert/encoder/layer_0/output/LayerNorm/beta": (4,),
    "bert/encoder/layer_0/output/LayerNorm/gamma": (4,),
    "bert/encoder/layer_1/attention/self/query/kernel": (4, 4),
    "bert/encoder/layer_1/attention/self/query/bias": (4,),
    "bert/encoder/layer_1/attention/self/key/kernel": (4, 4),
    "bert/encoder/layer_1/attention/self/key/bias": (4,),
    "bert/encoder/layer_1/attention/self/value/kernel": (4, 4),
    "bert/encoder/layer_1/attention/self/value/bias": (4,),
    "bert/encoder/layer_1/attention/output/dense/kernel": (4, 4),
    "bert/encoder/layer_1/attention/output/dense/bias": (4,),
    "bert/encoder/layer_1/attention/output/LayerNorm/beta": (4,),
    "bert/encoder/layer_1/attention/output/LayerNorm/gamma": (4,),
    "bert/encoder/layer_1/intermediate/dense/kernel": (4, 6),
    "bert/encoder/layer_1/intermediate/dense/bias": (6,),
    "bert/encoder/layer_1/output/dense/kernel": (6, 4),
    "bert/encoder/layer_1/output/dense/bias": (4,),
    "bert/encoder/layer_1/output/LayerNorm/beta": (4,),
    "bert/encoder/layer_1/output/LayerNorm/gamma": (4,),
    "bert/pooler/dense/kernel": (4, 4),
    "bert/pooler/dense/bias": (4,),
    "cls/predictions/transform/dense/kernel": (4, 4),
    "cls/predictions/transform/dense/bias": (4,),
    "cls/predictions/transform/LayerNorm/beta": (4,),
    "cls/predictions/transform/LayerNorm/gamma": (4,),
    "cls/predictions/output_bias": (9,),
    "cls/seq_relationship/output_weights": (2, 4),
    "cls/seq_relationship/output_bias": (2,),
}


def test_tensorflow_names_cover_a_pretraining_checkpoint() -> None:
    shapes = {}
    for foreign, shape in TENSORFLOW_VARIABLES.items():
        name, transposed = BERT.names.canonical_tensorflow(foreign)
        assert name not in shapes, f"two variables become {name}"
        shapes[name] = shape[::-1] if transposed else shape
    assert shapes == HEADS.shapes(TWO_LAYERS)


def test_only_kernels_are_transposed() -> None:
    transposed = {name for name in TENSORFLOW_VARIABLES if BERT.names.canonical_tensorflow(name)[1]}
    assert transposed == {name for name in TENSORFLOW_VARIABLES if name.endswith("/kernel")}


def test_layers_of_two_digits() -> None:
    name, _ = BERT.names.canonical_tensorflow("bert/encoder/layer_11/output/dense/bias")
    assert name == "encoder.layer.11.output.dense.bias"


@pytest.mark.parametrize("name", ["global_step", "bert/pooler/dense/kernel/adam_m", "bert/pooler/dense/bias/adam_v"])
def test_the_optimizers_variables_are_nobodys(name: str) -> None:
    assert BERT.names.canonical_tensorflow(name)[0] not in HEADS.shapes(TWO_LAYERS)
    assert IGNORED.search(name)


@pytest.mark.parametrize("name", ["rotary_emb.inv_freq", "layers.0.attn.rotary_emb.inv_freq", "original_inv_freq"])
def test_the_angles_of_rotary_positions_are_computed_not_read(name: str) -> None:
    assert IGNORED.search(ENCODERS["modernbert"].names.canonical(name))


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ("bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
        ("bert.embeddings.LayerNorm.beta", "embeddings.LayerNorm.bias"),
        ("embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
        ("encoder.layer.10.output.dense.bias", "encoder.layer.10.output.dense.bias"),
        ("encoder.layer.0.output.LayerNorm.gamma", "encoder.layer.0.output.LayerNorm.weight"),
        ("pooler.dense.weight", "pooler.dense.weight"),
        ("module.bert.pooler.dense.weight", "pooler.dense.weight"),
        ("module.encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bias"),
        ("0.auto_model.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", DECODER_BIAS),
        ("cls.predictions.decoder.weight", DECODER),
        ("cls.seq_relationship.weight", f"{NSP}.weight"),
        ("classifier.weight", "classifier.weight"),
        ("", ""),
    ],
)
def test_torch_names(foreign: str, name: str) -> None:
    assert BERT.names.canonical(foreign) == name


def test_canonical_names_stay_as_they_are() -> None:
    for name in replace(HEADS, tied=False).shapes(TWO_LAYERS):
        assert BERT.names.canonical(name) == name
        assert not IGNORED.search(name)


def test_every_name_of_2018_is_found_again() -> None:
    for name in Parts(pooler=True).shapes(TWO_LAYERS):
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        assert BERT.names.canonical(old) == BERT.names.canonical(f"module.bert.{old}") == name


@given(st.text())
def test_any_name_has_one_canonical_form(foreign: str) -> None:
    assert isinstance(BERT.names.canonical(foreign), str)
    assert isinstance(BERT.names.canonical_tensorflow(foreign)[0], str)


def test_heads_add_their_tensors_and_nothing_else() -> None:
    bare = Parts().shapes(TWO_LAYERS)
    assert len(bare) == 5 + 2 * 16
    assert len(Parts(pooler=True).shapes(TWO_LAYERS)) == len(bare) + 2
    assert len(Parts(("mlm",)).shapes(TWO_LAYERS)) == len(bare) + 5
    assert len(Parts(("mlm",), tied=False).shapes(TWO_LAYERS)) == len(bare) + 6
    assert len(Parts(("nsp",)).shapes(TWO_LAYERS)) == len(bare) + 4  # with its pooler
