"""``plan.json`` is enough to compute a bundle's model without ONNX."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.encoders import EncoderConfig
from bertedge.engines.plan_tensors import PlanTensors
from bertedge.errors import BundleError
from bertedge.heads.parts import Parts
from bertedge.plan import PLAN, read_plan
from bertedge.quantization import quantize
from bertedge.recipe import QuantizationRecipe, Static, WeightOnly
from bertedge.tokenizer import Tokenizer
from tests.conftest import KINDS, random_tensors
from tests.graph_arithmetic import GraphModel

IDS, TYPES, MASKED = [2, 17, 4, 60, 3, 33, 41, 3], [0, 0, 0, 0, 0, 1, 1, 1], [2, 5]
#: Kind -> how far apart onnxruntime and exact arithmetic are: it rounds the activations of weight-only bundles too.
LARGEST_DIFFERENCE = {"weight-only": 0.05}
EXACT = 2e-4
MakeBundle = Callable[..., Bundle]


def in_onnxruntime(bundle: Bundle) -> dict[str, np.ndarray]:
    """Outputs for one text, every position read, under the names of ``--positions masked``."""
    ids, types = (np.array([values], dtype=np.int64) for values in (IDS, types_of(bundle)))
    every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
    feed = {name: every[name] for name in bundle.config.text_inputs}
    if bundle.manifest.positions == "masked":
        feed |= {"masked_positions": np.array([MASKED]), "hidden_positions": np.arange(len(IDS))}
    session = ort.InferenceSession(str(bundle.model_path))
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, (values[0] for values in session.run(None, feed)), strict=True))
    if "logits" in found:
        found["mlm_logits"] = found.pop("logits")
    if "last_hidden_state" in found:
        found["hidden_states"] = found.pop("last_hidden_state")
    return found


def types_of(bundle: Bundle) -> list[int]:
    """Token types that the model has rows for."""
    return [min(segment, max(bundle.config.type_vocab_size - 1, 0)) for segment in TYPES]


def assert_the_plan_computes(bundle: Bundle, within: float = EXACT) -> None:
    masked = MASKED if bundle.manifest.positions == "masked" else list(range(len(IDS)))
    expected, found = in_onnxruntime(bundle), GraphModel(bundle.folder).outputs(IDS, types_of(bundle), masked)
    keys = {"hidden_states": "hidden_states", "pooler_output": "pooler_output"}
    got = {keys.get(name, f"{name}_logits"): values for name, values in found.items()}
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        assert np.abs(values - got[name]).max() <= within * np.abs(values).max(), name


@pytest.mark.parametrize("positions", ["masked", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_computes_the_model_from_the_plan(kind: str, positions: str, bundle_of: MakeBundle) -> None:
    assert_the_plan_computes(bundle_of(kind, positions=positions), LARGEST_DIFFERENCE.get(kind, EXACT))


@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_that_do_not_fit_the_width(bits: int, checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> None:
    recipe = QuantizationRecipe(method=WeightOnly(bits=bits, block_size=16, examples=4))
    bundle = quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file)
    assert_the_plan_computes(bundle, 0.05)


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_an_own_decoder_and_layers_in_every_format(
    activation: str, config: EncoderConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path
) -> None:
    source = ArraysSource(random_tensors(config, Parts(("mlm", "nsp"), tied=False)))
    checkpoint = Checkpoint(
        name="odd", config=replace(config, hidden_act=activation), source=source, tokenizer_=tokenizer
    )
    recipe = QuantizationRecipe(
        method=Static(examples=4, finer=("encoder.layer.1.*", "embeddings.position")),
        exclude=("encoder.layer.0.intermediate",),
        float16=("encoder.layer.0.output", "embeddings.word"),
    )
    bundle = quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file)
    formats = {layer.format for layer in read_plan(bundle.folder).layers.values()}
    assert formats == {"static_int8", "two_term_int8", "float32", "float16"}
    assert_the_plan_computes(bundle)


def test_channels_that_stand_out(
    config: EncoderConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path
) -> None:
    """Some are divided, some are moved to zero before, and some units are multiplied in float."""
    tensors = random_tensors(config, Parts(("mlm", "nsp")))
    for name, values in tensors.items():
        if name.endswith("LayerNorm.weight") and "cls" not in name:
            values[3] *= 30
        if name.endswith("LayerNorm.bias") and "cls" not in name:
            values[5] += 40
        if name.endswith("intermediate.dense.bias"):
            values[7] += 60
    checkpoint = Checkpoint(name="odd", config=config, source=ArraysSource(tensors), tokenizer_=tokenizer)
    recipe = QuantizationRecipe(method=Static(examples=4))
    bundle = quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file)
    matrices = [matrix for layer in read_plan(bundle.folder).layers.values() for matrix in layer.matrices]
    for tensor in ("shifts", "reciprocals", "outlier_weight"):
        assert any(getattr(matrix, tensor) for matrix in matrices), tensor
    assert_the_plan_computes(bundle)


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_those_of_the_file(kind: str, bundle_of: MakeBundle) -> None:
    bundle = bundle_of(kind)
    plan = read_plan(bundle.folder)
    mapped = PlanTensors(bundle.folder, plan)
    tensors = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(bundle.model_path)).graph.initializer
    }
    for name in plan.tensors:
        stored = mapped.array(name)
        assert stored.dtype == tensors[name].dtype
        assert np.array_equal(stored, tensors[name])
    weights = {name for name, values in tensors.items() if values.dtype != np.int64}
    assert weights == plan.tensors.keys()


def test_a_plan_is_part_of_what_the_manifest_hashes(bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(bundle_of("static").folder, folder)
    text = (folder / PLAN).read_text()
    (folder / PLAN).write_text(text.replace('"zero_point": ', '"zero_point": 1', 1))
    with pytest.raises(BundleError, match=r"plan\.json was altered"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.update(schema_version=9), "schema 9"),
        (lambda raw: raw["tensors"]["nsp.bias"].update(file="../x"), "is not a valid place"),
        (lambda raw: raw["tensors"]["nsp.bias"].update(offset=-1), "is not a valid place"),
        (lambda raw: raw["layers"]["nsp"].update(format="int3"), "int3"),
        (lambda raw: raw.pop("norms"), "norms"),
    ],
)
def test_a_broken_plan_is_refused(change: Callable, words: str, bundle_of: MakeBundle, tmp_path: Path) -> None:
    raw = json.loads((bundle_of("static").folder / PLAN).read_text())
    change(raw)
    (tmp_path / PLAN).write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=words):
        read_plan(tmp_path)


def test_a_tensor_beyond_the_end_of_its_file_is_named(bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = bundle_of("static").folder
    plan = read_plan(folder)
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-4])
    last = max(plan.tensors, key=lambda name: plan.tensors[name].offset)
    with pytest.raises(BundleError, match=f"ends before {last}"):
        PlanTensors(tmp_path, plan).array(last)
