"""What every registered method, on every registered target, must do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.fidelity import SINGLE_TEXTS, evaluation_batches, measure_fidelity
from bertedge.evaluate.invariance import invariance
from bertedge.predictor import NO_LABEL
from bertedge.recipe import METHODS
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from bertedge.target import TARGETS
from bertedge.weight_range import WeightRange
from tests.conftest import FLOAT, KINDS, plain_metrics
from tests.test_weight_range import keeps_to

#: Targets of one range of weights get one and the same file, which a test below shows.
ONE_OF_A_RANGE = {row.weight_range: name for name, row in TARGETS.items()}.values()
MakeBundle = Callable[..., Bundle]


@pytest.mark.parametrize("kind", KINDS)
def test_graph_is_valid(kind: str, bundle_of: MakeBundle) -> None:
    onnx.checker.check_model(str(bundle_of(kind).model_path))


@pytest.mark.parametrize("kind", KINDS)
def test_golden_vectors_replay(kind: str, bundle_of: MakeBundle) -> None:
    assert verify(load(bundle_of(kind).folder)).passed
    result = verify(load(bundle_of(kind).folder, engine="onnxruntime"))
    assert result.passed
    assert result.max_prob_diff < 1e-5  # this machine recorded them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", ["masked", "all"])
def test_a_text_never_depends_on_its_neighbours(
    kind: str, positions: str, bundle_of: MakeBundle, corpus_file: Path
) -> None:
    runtime = load(bundle_of(kind, positions=positions).folder)
    corpus = tokenize_corpus(corpus_file, runtime.tokenizer)
    layout = Layout.of(runtime.tokenizer, runtime.bundle.config.vocab_size)
    (batch, *_) = evaluation_batches(corpus, layout, examples=8, max_length=48, seed=0)
    changes = invariance(runtime, batch)
    assert changes.keys() == {"invariance.max_prob_diff", "invariance.max_vector_diff"}
    assert all(change.value <= 1e-4 for change in changes.values())
    # plain onnxruntime and padding: what the manifest says about the file is what a user of the file sees
    padded = invariance(runtime.padded(), batch)
    if runtime.bundle.manifest.row_independent:
        assert all(change.value <= 1e-4 for change in padded.values())
    elif kind == "dynamic":
        assert all(change.value > 1e-4 for change in padded.values())


@pytest.mark.parametrize("positions", ["masked", "all"])
def test_the_file_alone_says_what_the_runtime_says(positions: str, bundle_of: MakeBundle, corpus_file: Path) -> None:
    runtime = load(bundle_of("static", positions=positions).folder, engine="onnxruntime")
    corpus = tokenize_corpus(corpus_file, runtime.tokenizer)
    layout = Layout.of(runtime.tokenizer, runtime.bundle.config.vocab_size)
    (batch, *_) = evaluation_batches(corpus, layout, examples=8, max_length=48, seed=0)
    ours, plain = runtime.predict(batch), runtime.padded().predict(batch)
    filled = batch.labels["mlm"] != NO_LABEL
    assert len(set(batch.lengths)) > 1
    assert not filled.all()
    assert np.allclose(ours.logits["mlm"][filled], plain.logits["mlm"][filled], atol=1e-3)
    assert np.allclose(ours.logits["nsp"], plain.logits["nsp"], atol=1e-3)


def multiplied_weights(bundle: Bundle) -> list[np.ndarray]:
    """The int8 matrices (outputs, inputs) that integers are multiplied with."""
    graph = onnx.load(bundle.model_path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    tables = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Transpose"}
    names = [node.input[1] for node in graph.node if node.op_type in ("MatMulIntegerToFloat", "QAttention")]
    return [to_array(stored[tables[name]]) if name in tables else to_array(stored[name]).T for name in names]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ONE_OF_A_RANGE)
def test_faithful_on_every_target(method: str, target: str, bundle_of: MakeBundle, corpus_file: Path) -> None:
    bundle = bundle_of(method, target)
    weights = multiplied_weights(bundle)
    assert weights or method == "weight-only"
    assert all(keeps_to(TARGETS[target].weight_range, weight) for weight in weights)
    reference, candidate = load(bundle_of(FLOAT).folder), load(bundle.folder, allow_any_cpu=True)
    corpus = tokenize_corpus(corpus_file, reference.tokenizer)
    layout = Layout.of(reference.tokenizer, reference.bundle.config.vocab_size)
    batches = evaluation_batches(corpus, layout, examples=16, max_length=48, seed=0)
    batches += evaluation_batches(corpus, layout, examples=64, max_length=48, seed=0, kind=SINGLE_TEXTS)
    (metrics,) = measure_fidelity(reference, [candidate], batches)
    assert plain_metrics(bundle.manifest.parts) <= metrics.keys()
    assert metrics["mlm.kl_mean"].value < 0.02
    assert metrics["embedding.cosine_mean"].value > 0.99
    assert metrics["nsp.prob_mae"].value < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_only_the_range_of_weights_tells_targets_apart(method: str, bundle_of: MakeBundle) -> None:
    """By which a bundle is right or wrong on a CPU; see :mod:`bertedge.target`."""
    files: dict[WeightRange, set[str]] = {}
    for name, row in TARGETS.items():
        model = bundle_of(method, name).manifest.files["model.onnx"]
        files.setdefault(row.weight_range, set()).add(model.sha256)
    assert len(set().union(*files.values())) == (1 if method == "weight-only" else 2)
    assert all(len(hashes) == 1 for hashes in files.values())


@pytest.mark.parametrize("method", METHODS)
def test_smaller_than_float_and_says_so(method: str, bundle_of: MakeBundle) -> None:
    bundle, in_float = bundle_of(method), bundle_of(FLOAT)
    assert bundle.size_bytes < 0.6 * in_float.size_bytes
    assert bundle.manifest.coverage.macs > 0.9
    assert in_float.manifest.coverage.macs == 0
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    assert manifest["recipe"]["method"]["name"] == method
    assert {"model.onnx", "tokenizer.json", "config.json", "golden.npz"} <= manifest["files"].keys()


def test_the_faithful_recipe_is_more_faithful(bundle_of: MakeBundle, corpus_file: Path) -> None:
    reference, *candidates = (load(bundle_of(kind).folder) for kind in (FLOAT, "static", "faithful"))
    corpus = tokenize_corpus(corpus_file, reference.tokenizer)
    layout = Layout.of(reference.tokenizer, reference.bundle.config.vocab_size)
    batches = evaluation_batches(corpus, layout, examples=16, max_length=48, seed=0)
    default, faithful = (m["mlm.kl_mean"].value for m in measure_fidelity(reference, candidates, batches))
    assert faithful < 0.7 * default
    macs = [bundle_of(kind).manifest.coverage.macs for kind in ("static", "faithful")]
    assert macs[0] == macs[1]


@pytest.mark.parametrize("method", METHODS)
def test_same_input_same_file(
    method: str, bundle_of: MakeBundle, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    from bertedge.quantization import quantize

    first = bundle_of(method)
    again = quantize(
        model_folder, tmp_path / "again", target="portable", recipe=first.manifest.recipe, calibration=corpus_file
    )
    assert again.manifest.files["model.onnx"] == first.manifest.files["model.onnx"]
