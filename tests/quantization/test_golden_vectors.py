"""Golden vectors are right wherever they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertedge import target
from bertedge.bundle import GOLDEN, Bundle
from bertedge.cpu import X86, parse_cpuinfo
from bertedge.engines.numpy import numpy_model
from bertedge.engines.numpy.numpy_model import NumpyModel
from bertedge.engines.onnxruntime.cpu_check import is_correct_here
from bertedge.errors import CheckpointError
from bertedge.quantization import golden_vectors, quantize
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from tests.conftest import KINDS
from tests.test_target import HASWELL


@pytest.fixture
def in_numpy(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Fills with the files that are multiplied in numpy."""
    made: list[Path] = []

    class Seen(NumpyModel):
        def __init__(self, path: Path, **more: object) -> None:
            made.append(path)
            super().__init__(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(numpy_model, "NumpyModel", Seen)
    return made


@pytest.mark.parametrize("format", ["onnx", "ort"])
@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_where_sums_would_overflow_they_are_made_in_numpy(
    method: str,
    format: str,
    model_folder: Path,
    corpus_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_numpy: list[Path],
) -> None:
    recipe = QuantizationRecipe(method=METHODS[method]())
    options = {"target": "arm64", "recipe": recipe, "calibration": corpus_file, "format": format}
    with monkeypatch.context() as on_haswell:
        on_haswell.setattr(target, "this_cpu", lambda: parse_cpuinfo(HASWELL, X86))
        there = quantize(model_folder, tmp_path / "there", **options)  # type: ignore[arg-type]
    assert in_numpy
    in_numpy.clear()
    here = quantize(model_folder, tmp_path / "here", **options)  # type: ignore[arg-type]
    assert not in_numpy or not is_correct_here(target.TARGETS["arm64"])
    assert format == "ort" or there.model_sha256 == here.model_sha256
    assert there.manifest.fidelity.agreement == here.manifest.fidelity.agreement
    result = verify(load(there.folder, allow_any_cpu=True))
    assert result.passed
    assert result.max_prob_diff < 1e-3
    with np.load(there.folder / GOLDEN) as stored:
        assert stored["noise.prob"] < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_computes_what_onnxruntime_does(bundle_of: Callable[..., Bundle], kind: str) -> None:
    bundle = bundle_of(kind)
    runtime = load(bundle.folder, engine="onnxruntime")
    feed = {
        "input_ids": np.array([[2, 7, 4, 9, 3]]),
        "attention_mask": np.ones((1, 5), dtype=np.int64),
        "token_type_ids": np.zeros((1, 5), dtype=np.int64),
        "masked_positions": np.array([[2]]),
    }
    expected = runtime.runner.executor._model.run(feed, work=1)
    found = NumpyModel(bundle.model_path).run(feed, work=1)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_model_that_computes_no_numbers_is_not_written(
    model_folder: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = golden_vectors.record

    def broken(*arguments: object) -> dict[str, np.ndarray]:
        arrays = real(*arguments)  # type: ignore[arg-type]
        return {**arrays, "nsp_probs": np.full_like(arrays["nsp_probs"], np.nan)}

    monkeypatch.setattr(golden_vectors, "record", broken)
    with pytest.raises(CheckpointError, match="numbers that are not finite"):
        quantize(model_folder, tmp_path / "b", calibration=corpus_file)
    assert list(tmp_path.iterdir()) == []
