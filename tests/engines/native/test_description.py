"""Bundles as the native engine reads them."""

from __future__ import annotations

import ctypes
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.encoders import ENCODERS
from bertedge.encoders.config import GLOBAL, LOCAL
from bertedge.engines import ENGINES
from bertedge.engines.native import library as c
from bertedge.engines.native.description import Description
from bertedge.engines.plan_tensors import PlanTensors
from bertedge.errors import BertEdgeError, BundleError, UsageError
from bertedge.heads.parts import Parts
from bertedge.plan import PLAN, read_plan
from bertedge.quantization import export
from bertedge.tokenizer import Tokenizer
from tests.conftest import FLOAT, KINDS, random_tensors

MakeBundle = Callable[..., Bundle]
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


def bytes_of(tensor: c.Tensor) -> bytes:
    """What a tensor points at."""
    return ctypes.string_at(tensor.data, tensor.bytes)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "weight-only"])
def test_every_tensor_is_that_of_the_bundle(kind: str, bundle_of: MakeBundle) -> None:
    bundle = bundle_of(kind)
    plan, found = read_plan(bundle.folder), Description(bundle)
    tensors = PlanTensors(bundle.folder, plan)
    model = found.model
    assert (model.block_count, model.hidden, model.max_length) == (2, 32, 64)
    layer = plan.layers["encoder.layer.1.output"]
    linear = model.blocks[1].output
    assert (linear.inputs, linear.outputs, linear.matrix_count) == (64, 32, 1)
    assert linear.terms == (2 if layer.format == "two_term_int8" else 1)
    for field in ("weight", "bias", "scale", "shifts", "reciprocals", "outlier_weight"):
        name, tensor = getattr(layer.matrices[0], field), getattr(linear.matrices[0], field)
        assert (tensor.data is None) == (name is None)
        assert name is None or bytes_of(tensor) == tensors.array(name).tobytes()
    assert bytes_of(model.words.values) == tensors.array(plan.tables["embeddings.word"].values).tobytes()
    assert (model.projection.outputs, model.final_norm.weight.data, model.relative_bias.data) == (0, None, None)
    assert list(found.heads) == ["mlm", "nsp"]
    mlm, nsp = model.heads[0], model.heads[1]
    assert (mlm.reads, mlm.activation, mlm.dense.outputs) == (c.READS["masked"], c.ACTIVATIONS["gelu"], 32)
    assert mlm.norm.weight.bytes == 32 * 4
    assert mlm.last.matrices[0].by_output == 1
    assert mlm.last.matrices[0].weight.data == model.words.values.data
    assert (nsp.reads, nsp.dense.outputs, nsp.norm.weight.data) == (c.READS["pooler"], 0, None)


def described(family: str, tokenizer: Tokenizer, folder: Path, **settings: Any) -> Description:
    config = ENCODERS[family].config(
        vocab_size=tokenizer.vocab_size, max_position_embeddings=64, pad_token_id=0, **{**SIZES, **settings}
    )
    tensors = random_tensors(config, Parts(("mlm",)))
    checkpoint = Checkpoint(name="tiny", config=config, source=ArraysSource(tensors), tokenizer_=tokenizer)
    return Description(export(checkpoint, folder / "bundle"))


def test_blocks_that_share_weights_have_the_same_tensors(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = described("albert", tokenizer, tmp_path, embedding_size=16)
    places = {found.model.blocks[index].qkv.matrices[0].weight.data for index in range(3)}
    assert len(places) == 1
    assert (found.model.embedding, found.model.projection.inputs, found.model.projection.outputs) == (16, 16, 32)


def test_windows_and_rotation(tokenizer: Tokenizer, tmp_path: Path) -> None:
    layers = (GLOBAL, LOCAL, LOCAL)
    found = described("modernbert", tokenizer, tmp_path, layer_types=layers, local_attention=8)
    model = found.model
    assert (model.pre_norm, model.gated, model.positions.rows) == (1, 1, 0)
    assert [model.blocks[index].reach for index in range(3)] == [0, 4, 4]
    thetas = [model.blocks[index].rope_theta for index in range(3)]
    assert thetas == [found.config.rope_theta, found.config.local_rope_theta, found.config.local_rope_theta]
    assert model.blocks[0].attention_norm.weight.data is None
    assert model.blocks[1].attention_norm.weight.bytes == model.final_norm.weight.bytes == 32 * 4


def test_positions_that_start_later_and_relative_ones(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = described("mpnet", tokenizer, tmp_path)
    model, offset = found.model, found.config.position_offset
    assert (model.position_offset, model.max_length, model.positions.rows) == (offset, 64 - offset, 64)
    assert model.relative_bias.bytes // (4 * 4) == 2 * model.max_length + 1
    assert model.token_types.rows == 0


def test_weights_in_blocks_are_refused(bundle_of: MakeBundle) -> None:
    bundle = bundle_of("weight-only")
    with pytest.raises(UsageError, match="weights in blocks"):
        Description(bundle)
    with pytest.raises(BertEdgeError, match="weights in blocks"):
        ENGINES["native"].check(bundle.manifest)


def in_another_format(raw: dict[str, Any]) -> None:
    raw["layers"]["nsp"]["format"] = "static_int8"


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a tensor that is not listed": (lambda raw: raw["tensors"].pop("nsp.bias"), "nsp.bias is not among its tensors"),
    "another type": (lambda raw: raw["tensors"]["nsp.bias"].update(dtype="int8"), r"nsp.bias is int8 \(2,\)"),
    "another shape": (lambda raw: raw["tensors"]["nsp.bias"].update(shape=[3]), r"expected float32 \(2,\)"),
    "no shape": (lambda raw: raw["tensors"]["nsp.bias"].update(shape=[]), r"nsp.bias is float32 \(\)"),
    "the end of the file": (lambda raw: raw["tensors"]["nsp.bias"].update(offset=10**9), "ends before nsp.bias"),
    "no file": (lambda raw: raw["tensors"]["nsp.bias"].update(file="none"), "none: cannot be read"),
    "a format of other weights": (in_another_format, "nsp.weight is float32"),
    "outputs that do not add up": (lambda raw: raw["layers"]["pooler"].update(outputs=33), "pooler has 33 outputs"),
    "a head that is gone": (lambda raw: raw["heads"].pop("nsp"), "gives mlm, and the manifest lists others"),
    "a head without layers": (lambda raw: raw["heads"]["nsp"].update(steps=[]), "nsp does not give 2 numbers"),
    "a head of other outputs": (lambda raw: raw["layers"]["nsp"].update(outputs=3), "nsp does not give 2 numbers"),
    "a head that reads less": (
        lambda raw: raw["heads"]["mlm"].update(reads="first"),
        "mlm does not give [0-9]+ numbers",
    ),
    "nothing": (lambda raw: raw["layers"]["nsp"].update(inputs=0), "nsp has sizes"),
    "more than 32 bits": (lambda raw: raw["layers"]["nsp"].update(inputs=2**32 + 32), "nsp has sizes"),
    "an outlier outside": (lambda raw: raw["layers"]["nsp"].update(outliers=[32]), "an outlier that is no input"),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_a_plan_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], Any], words: str, bundle_of: MakeBundle, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle_of(FLOAT).folder, tmp_path / "b"))
    raw = json.loads((folder / PLAN).read_text())
    change(raw)
    (folder / PLAN).write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=words):
        Description(replace(bundle_of(FLOAT), folder=folder))


@pytest.mark.parametrize(
    "steps", [["norm", "norm", "linear"], ["norm", "linear", "linear"], ["activation", "linear"], ["linear"] * 3]
)
def test_a_head_of_other_layers_is_refused(steps: list[str], bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_of(FLOAT).folder, tmp_path / "b"))
    raw = json.loads((folder / PLAN).read_text())
    raw["heads"]["nsp"]["steps"] = [{"kind": kind, "name": "nsp"} for kind in steps]
    (folder / PLAN).write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="does not compute the head nsp"):
        Description(replace(bundle_of(FLOAT), folder=folder))


def test_an_empty_file_is_refused(bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_of(FLOAT).folder, tmp_path / "b"))
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx: cannot be read"):
        Description(replace(bundle_of(FLOAT), folder=folder))
