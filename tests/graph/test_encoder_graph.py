"""The graph against the torch model, in every configuration that occurs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.encoders import EncoderConfig, names
from bertedge.errors import CheckpointError
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.formats import DynamicInt8, Float32, NumberFormat
from bertedge.graph.inspect import bytes_by_part, coverage
from bertedge.graph.writer import Positions
from bertedge.heads.parts import Parts
from bertedge.layers import planned_layers
from bertedge.train.model import BertForPreTraining
from tests.conftest import random_tensors

ALL_HEADS = Parts(("mlm", "nsp"))


def in_memory(config: EncoderConfig, heads: Parts = ALL_HEADS) -> Checkpoint:
    return Checkpoint(name="memory", config=config, source=ArraysSource(random_tensors(config, heads)))


def inputs(config: EncoderConfig, *, padded: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    ids = rng.integers(config.vocab_size, size=(3, 11))
    mask = np.ones_like(ids)
    if padded:
        mask[1, 7:] = 0
    segments = np.zeros_like(ids)
    segments[:, 5:] = config.type_vocab_size - 1
    positions = np.array([[1, 4], [2, 6], [3, 10]])
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments, "masked_positions": positions}


def run(checkpoint: Checkpoint, plan: dict, feed: dict, folder: Path, positions: Positions = "masked") -> dict:
    path = folder / "model.onnx"
    build_graph(checkpoint, plan, positions=positions).builder.write(path)
    onnx.checker.check_model(str(path))
    session = ort.InferenceSession(str(path))
    wanted = {value.name for value in (*session.get_inputs(), *session.get_overridable_initializers())}
    outputs = session.run(None, {name: array for name, array in feed.items() if name in wanted})
    return dict(zip((value.name for value in session.get_outputs()), outputs, strict=True))


def in_torch(checkpoint: Checkpoint, feed: dict) -> dict[str, np.ndarray]:
    model = BertForPreTraining.from_checkpoint(checkpoint).eval()
    rows, length = feed["input_ids"].shape
    index = (feed["masked_positions"] + np.arange(rows)[:, None] * length).ravel()
    with torch.no_grad():
        output = model(
            torch.from_numpy(feed["input_ids"]),
            torch.from_numpy(feed["attention_mask"]),
            torch.from_numpy(feed["token_type_ids"]),
            torch.from_numpy(index),
        )
    mlm = output.logits["mlm"].numpy().reshape(rows, -1, checkpoint.config.vocab_size)
    return {"mlm_logits": mlm, "nsp_logits": output.logits["nsp"].numpy(), "hidden": output.hidden_states[-1].numpy()}


def int8_plan(checkpoint: Checkpoint) -> dict[str, NumberFormat]:
    layers = planned_layers(checkpoint.parts.layers(checkpoint.config))
    return {layer.name: DynamicInt8() for layer in layers}


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("heads", [replace(ALL_HEADS, tied=False), ALL_HEADS])
def test_float_graph_equals_torch(config: EncoderConfig, hidden_act: str, heads: Parts, tmp_path: Path) -> None:
    checkpoint = in_memory(replace(config, hidden_act=hidden_act), heads)
    feed = inputs(config)
    got, expected = run(checkpoint, {}, feed, tmp_path), in_torch(checkpoint, feed)
    assert np.abs(got["mlm_logits"] - expected["mlm_logits"]).max() < 1e-5
    assert np.abs(got["nsp_logits"] - expected["nsp_logits"]).max() < 1e-5


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("heads_and_size", [(2, 24), (3, 48), (1, 20)])
def test_shapes_of_all_kinds(
    config: EncoderConfig, layers: int, heads_and_size: tuple[int, int], tmp_path: Path
) -> None:
    heads, size = heads_and_size
    shape = replace(
        config, num_hidden_layers=layers, num_attention_heads=heads, hidden_size=size, intermediate_size=3 * size
    )
    checkpoint, feed = in_memory(shape), inputs(shape)
    expected = in_torch(checkpoint, feed)
    assert np.abs(run(checkpoint, {}, feed, tmp_path)["mlm_logits"] - expected["mlm_logits"]).max() < 1e-5
    quantized = run(checkpoint, int8_plan(checkpoint), feed, tmp_path)["mlm_logits"]
    assert np.corrcoef(quantized.ravel(), expected["mlm_logits"].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("vocab_size", [100, 120_000])
def test_vocabularies_small_and_large(config: EncoderConfig, vocab_size: int, tmp_path: Path) -> None:
    checkpoint = in_memory(replace(config, vocab_size=vocab_size))
    feed = inputs(checkpoint.config)
    assert run(checkpoint, int8_plan(checkpoint), feed, tmp_path)["mlm_logits"].shape == (3, 2, vocab_size)


@pytest.mark.parametrize("quantized", [False, True])
def test_all_positions_agree_with_masked_ones(config: EncoderConfig, quantized: bool, tmp_path: Path) -> None:
    checkpoint, feed = in_memory(config), inputs(config)
    plan = int8_plan(checkpoint) if quantized else {}
    everywhere = run(checkpoint, plan, feed, tmp_path, "all")
    masked = run(checkpoint, plan, feed, tmp_path)
    picked = np.take_along_axis(everywhere["logits"], feed["masked_positions"][:, :, None], axis=1)
    tolerance = 0.2 if quantized else 1e-5  # dynamic ranges see other rows in the two graphs
    assert np.abs(picked - masked["mlm_logits"]).max() < tolerance
    assert np.abs(everywhere["nsp_logits"] - masked["nsp_logits"]).max() < tolerance


@pytest.mark.parametrize("quantized", [False, True])
def test_where_the_logits_end(config: EncoderConfig, quantized: bool, tmp_path: Path) -> None:
    checkpoint, feed = in_memory(config), inputs(config)
    plan = int8_plan(checkpoint) if quantized else {}
    whole = run(checkpoint, plan, feed, tmp_path, "all")
    length = feed["input_ids"].shape[1]
    assert whole["logits"].shape == (3, length, config.vocab_size)
    for end in (0, 4, length):
        cut = run(checkpoint, plan, {**feed, "logits_end": np.array([end])}, tmp_path, "all")
        assert cut["logits"].shape == (3, end, config.vocab_size)
        # a dynamic range is that of the positions before the end
        if end == length or not quantized:
            assert np.allclose(cut["logits"], whole["logits"][:, :end], rtol=0, atol=0 if end == length else 1e-5)
        for name in ("nsp_logits", "pooler_output", "last_hidden_state"):
            assert np.array_equal(cut[name], whole[name])


def test_the_ecosystem_sees_its_own_inputs_only(config: EncoderConfig, tmp_path: Path) -> None:
    """Those that a caller must give; and nothing to cut where there is no MLM head."""
    for heads, optional in ((ALL_HEADS, ["logits_end"]), (Parts(("nsp",)), [])):
        build_graph(in_memory(config, heads), {}, positions="all").builder.write(tmp_path / "model.onnx")
        session = ort.InferenceSession(str(tmp_path / "model.onnx"))
        assert [i.name for i in session.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
        assert [i.name for i in session.get_overridable_initializers()] == optional


def test_hidden_states_at_asked_positions(config: EncoderConfig, tmp_path: Path) -> None:
    checkpoint, feed = in_memory(config), inputs(config)
    got = run(checkpoint, {}, {**feed, "hidden_positions": np.array([0, 3, 6])}, tmp_path)
    assert np.abs(got["hidden_states"] - in_torch(checkpoint, feed)["hidden"][:, [0, 3, 6]]).max() < 1e-5


def test_nothing_masked_is_no_work_for_the_head(config: EncoderConfig, tmp_path: Path) -> None:
    feed = inputs(config)
    feed["masked_positions"] = feed["masked_positions"][:, :0]
    got = run(in_memory(config), int8_plan(in_memory(config)), feed, tmp_path)
    assert got["mlm_logits"].shape == (3, 0, config.vocab_size)
    assert got["hidden_states"].shape == (3, 0, config.hidden_size)
    assert np.isfinite(got["nsp_logits"]).all()


@pytest.mark.parametrize(
    ("heads", "outputs"),
    [
        (Parts(), {"hidden_states"}),
        (Parts(pooler=True), {"hidden_states", "pooler_output"}),
        (Parts(("mlm",)), {"hidden_states", "mlm_logits"}),
        (Parts(("nsp",)), {"hidden_states", "pooler_output", "nsp_logits"}),
    ],
)
def test_models_with_fewer_heads(config: EncoderConfig, heads: Parts, outputs: set, tmp_path: Path) -> None:
    checkpoint = in_memory(config, heads)
    feed = inputs(config)
    feed["hidden_positions"] = np.arange(2)
    assert set(run(checkpoint, int8_plan(checkpoint), feed, tmp_path)) == outputs


def test_the_tied_table_is_stored_once(config: EncoderConfig) -> None:
    checkpoint = in_memory(config)
    sizes = [t.size_bytes for t in build_graph(checkpoint, {}).builder.tensors.values()]
    table_bytes = 4 * config.vocab_size * config.hidden_size
    assert sizes.count(table_bytes) == 1


def test_coverage_counts_what_is_int8(config: EncoderConfig) -> None:
    checkpoint = in_memory(config)
    plan = int8_plan(checkpoint)
    full = coverage(build_graph(checkpoint, plan), plan)
    none = coverage(build_graph(checkpoint, {}), {})
    some = {name: form for name, form in plan.items() if "intermediate" not in name}
    assert full.macs > 0.99
    assert none.macs == none.bytes == 0
    assert none.macs < coverage(build_graph(checkpoint, some), some).macs < full.macs
    last = {name: Float32() if name.startswith("encoder.layer.1.") else form for name, form in plan.items()}
    first = {name: Float32() if name.startswith("encoder.layer.0.") else form for name, form in plan.items()}
    assert coverage(build_graph(checkpoint, last), last).macs > coverage(build_graph(checkpoint, first), first).macs
    everywhere = [
        coverage(build_graph(checkpoint, p, positions="all"), p).macs for p in (last, first)
    ]  # here no block is spared
    assert everywhere[0] == everywhere[1]
    parts = bytes_by_part(build_graph(checkpoint, plan))
    assert parts["encoder.layer.0"] == parts["encoder.layer.1"] > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(value: float, config: EncoderConfig, tmp_path: Path) -> None:
    tensors = random_tensors(config, ALL_HEADS)
    name = names.layer(1) + ".output.dense.weight"
    tensors[name][3, 5] = value
    broken = replace(in_memory(config), source=ArraysSource(tensors))
    with pytest.raises(CheckpointError, match=f"{name} holds NaN or infinity"):
        build_graph(broken, {}).builder.write(tmp_path / "model.onnx")


def test_node_names_are_stable_and_unique(config: EncoderConfig) -> None:
    graph = build_graph(in_memory(config), int8_plan(in_memory(config)))
    node_names = [node.name for node in graph.builder.nodes]
    assert len(node_names) == len(set(node_names))
    assert "encoder.layer.0.intermediate" in node_names
    assert names.layer(0) not in graph.builder.tensors
