"""The list of a model's layers: names, roles, sizes, and what follows from them."""

from __future__ import annotations

import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import BERT, ENCODERS, EncoderConfig, names
from bertedge.graph.encoder_graph import build_graph
from bertedge.heads.parts import Parts
from bertedge.layers import KEPT, Role, linear_layers, planned_layers, sharing, token_type_table

ALL = Parts(("mlm", "nsp"), pooler=True)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("parts", [Parts(), ALL, Parts(("mlm",), tied=False)])
def test_layers_have_the_sizes_of_their_tensors(parts: Parts, family: str) -> None:
    config = ENCODERS[family].config()
    layers, shapes = [*parts.layers(config)], parts.shapes(config)
    if config.type_vocab_size:
        layers.append(token_type_table(config))
    assert len({layer.name for layer in layers}) == len(layers)
    for layer in layers:
        if layer.tied_to is not None:
            continue  # its matrix is the table's
        rows = [shapes[f"{owner}.weight"] for owner in layer.owners]
        assert sum(shape[0] for shape in rows) == layer.outputs
        assert {shape[1] for shape in rows} == {layer.inputs}
    owned = {f"{owner}.weight" for layer in layers for owner in layer.owners}
    matrices = {name for name, shape in shapes.items() if len(shape) == 2}
    assert matrices - {names.RELATIVE_BIAS} <= owned  # attention adds that one; others have a layer


def test_every_role_occurs(config: EncoderConfig) -> None:
    layers = (*ALL.layers(config), token_type_table(config), *Parts().layers(ENCODERS["electra"].config()))
    assert {layer.role for layer in layers} == set(Role)


def test_only_an_own_table_is_free_of_the_decoder(config: EncoderConfig) -> None:
    assert sharing(ALL.layers(config)) == {"embeddings.word": "mlm.decoder"}
    assert sharing(Parts(("mlm",), tied=False).layers(config)) == {}
    assert sharing(Parts(pooler=True).layers(config)) == {}


def test_recipes_name_all_but_classifiers_and_profiles_name_no_tables(config: EncoderConfig) -> None:
    layers = ALL.layers(config)
    assert {layer.name for layer in layers} - {layer.name for layer in planned_layers(layers)} == {"nsp"}
    tables = {layer.name for layer in planned_layers(layers)} - {layer.name for layer in linear_layers(layers)}
    assert tables == {"embeddings.word", "embeddings.position"}
    assert {layer.name for layer in layers if layer.role in KEPT} == {"mlm.transform", "nsp"}


def test_blocks_are_numbered() -> None:
    layers = Parts().layers(BERT.config(num_hidden_layers=12))
    assert [layer.block for layer in layers if layer.role == Role.QKV] == list(range(12))
    assert {layer.block for layer in layers if not layer.role.in_blocks} == {None}


def test_the_graph_computes_the_layers_in_their_order(checkpoint: Checkpoint) -> None:
    graph = build_graph(checkpoint, {})
    multiplied = [layer.name for layer in ALL.layers(checkpoint.config) if not layer.role.is_table]
    assert sorted(graph.layers) == sorted(multiplied)
    assert graph.matrices.keys() == graph.layers.keys()
    assert graph.tables.keys() == {"embeddings.word", "embeddings.position", "embeddings.token_type"}
