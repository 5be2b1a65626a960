"""A bundle with ``model.ort``: the same results, the list of operators, one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bertedge.bundle import OPERATORS, Bundle
from bertedge.errors import UsageError
from bertedge.manifest import MODELS
from bertedge.quantization import FORMATS, export, quantize
from bertedge.recipe import Dynamic, QuantizationRecipe
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from tests.conftest import FLOAT, KINDS

MakeBundle = Callable[..., Bundle]


def as_ort(bundle: Bundle, folder: Path, model: Path, corpus: Path) -> Bundle:
    """The same bundle with the other file."""
    manifest = bundle.manifest
    if manifest.recipe is None:
        return export(model, folder, positions=manifest.positions, format="ort")
    return quantize(
        model,
        folder,
        target=manifest.target,
        recipe=manifest.recipe,
        calibration=corpus,
        positions=manifest.positions,
        format="ort",
    )


def feed(bundle: Bundle) -> dict[str, np.ndarray]:
    """Two rows, padded, with the inputs that have no default."""
    rng = np.random.default_rng(0)
    values = {
        "input_ids": rng.integers(0, bundle.config.vocab_size, (2, 9)),
        "attention_mask": np.array([[1] * 9, [1] * 5 + [0] * 4]),
        "token_type_ids": np.array([[0] * 4 + [1] * 5, [0] * 9]),
        "masked_positions": np.array([[1, 3], [2, 4]]),
    }
    return {name: values[name] for name in values if name in bundle.manifest.inputs}


@pytest.mark.parametrize(
    ("kind", "positions"), [*((kind, "masked") for kind in KINDS), (FLOAT, "all"), ("static", "all")]
)
def test_plain_onnxruntime_runs_it_to_the_same_end(
    kind: str, positions: str, bundle_of: MakeBundle, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    bundle = bundle_of(kind, positions=positions)
    other = as_ort(bundle, tmp_path / "ort", model_folder, corpus_file)
    assert {MODELS["ort"], OPERATORS} <= other.manifest.files.keys()
    assert MODELS["onnx"] not in other.manifest.files
    assert other.manifest.inputs == bundle.manifest.inputs
    sessions = [ort.InferenceSession(str(b.model_path), providers=["CPUExecutionProvider"]) for b in (bundle, other)]
    names = [[value.name for value in session.get_outputs()] for session in sessions]
    assert names[0] == names[1]
    for expected, got in zip(*(session.run(None, feed(bundle)) for session in sessions), strict=True):
        assert np.allclose(expected, got, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_runtime_gives_the_same_to_the_bit(
    kind: str, bundle_of: MakeBundle, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    bundle = bundle_of(kind)
    in_ort = as_ort(bundle, tmp_path / "ort", model_folder, corpus_file)
    runtimes = [load(one.folder, engine="onnxruntime") for one in (bundle, in_ort)]
    assert verify(runtimes[1]).passed
    fills = [runtime.fill_mask(["the cat [MASK] on the mat", "a [MASK]"]) for runtime in runtimes]
    assert fills[0] == fills[1]
    vectors = [runtime.encode("the cat sat", pooling="none") for runtime in runtimes]  # asks for optional inputs
    assert np.array_equal(*vectors)


def test_the_list_of_operators_is_complete_and_tells_no_path(
    bundle_of: MakeBundle, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    bundle = bundle_of("static")
    other = as_ort(bundle, tmp_path / "ort", model_folder, corpus_file)
    lines = (other.folder / OPERATORS).read_text().splitlines()
    assert lines[0] == f"# Required by model.ort, found by onnxruntime {ort.__version__}"
    assert str(tmp_path) not in "\n".join(lines)
    contrib = next(line for line in lines if line.startswith("com.microsoft;1;"))
    used = {node.op_type for node in onnx.load(bundle.model_path).graph.node if node.domain == "com.microsoft"}
    assert used
    assert all(op in contrib for op in used)
    assert '"int8_t"' in "\n".join(lines)


def test_a_target_whose_kernel_a_minimal_build_lacks(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="minimal builds"):
        quantize(model_folder, tmp_path / "b", target="avx512-vnni", format="ort")
    assert list(tmp_path.iterdir()) == []


def test_without_a_target_it_is_for_every_cpu(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    recipe = QuantizationRecipe(method=Dynamic())
    bundle = quantize(model_folder, tmp_path / "b", recipe=recipe, calibration=corpus_file, format="ort")
    assert bundle.manifest.target == "portable"


def test_an_unknown_format(model_folder: Path, tmp_path: Path) -> None:
    for make in (export, quantize):
        with pytest.raises(UsageError, match="'tflite' is not known") as caught:
            make(model_folder, tmp_path / "b", format="tflite")
        assert "onnx, ort" in caught.value.hint
    assert FORMATS.keys() == MODELS.keys()
