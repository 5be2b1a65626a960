"""Which bundles are taken on which CPU, and how to have it one's own way."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bertedge import target
from bertedge.bundle import Bundle
from bertedge.cpu import X86, parse_cpuinfo
from bertedge.engines import ENGINES
from bertedge.engines.onnxruntime.padded import PaddedPredictor
from bertedge.engines.onnxruntime.sessions import Sessions
from bertedge.errors import BundleError, TargetWarning, UnfitMachineError
from bertedge.manifest import file_entries, write_manifest
from bertedge.quantization import export
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from tests.conftest import FLOAT, skip_where_unfit
from tests.test_target import HASWELL, ICELAKE, SAPPHIRE

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say that this is another CPU."""

    def be(cpuinfo: str) -> None:
        monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(cpuinfo, X86))

    return be


def test_a_bundle_that_would_be_wrong_is_refused(on: Callable[[str], None], bundle_of: MakeBundle) -> None:
    on(HASWELL)
    with pytest.raises(UnfitMachineError, match="overflow") as caught:
        load(bundle_of("dynamic", "avx512-vnni").folder, engine="onnxruntime")
    assert caught.value.exit_code == 3
    load(bundle_of("dynamic", "avx512-vnni").folder, allow_any_cpu=True)
    load(bundle_of("dynamic", "portable").folder)
    load(bundle_of("dynamic", "avx2").folder)


def test_the_native_engine_adds_without_overflow_everywhere(on: Callable[[str], None], bundle_of: MakeBundle) -> None:
    bundle = bundle_of("dynamic", "avx512-vnni")
    skip_where_unfit(ENGINES["native"], bundle)
    on(HASWELL)
    assert verify(load(bundle.folder, engine="native")).passed
    assert bundle.manifest.fit_here(ENGINES["native"].weight_range).startswith("correct")
    assert "overflow" in bundle.manifest.fit_here(ENGINES["onnxruntime"].weight_range)


@pytest.mark.parametrize(
    ("kind", "target"),
    [(FLOAT, "portable"), ("weight-only", "portable"), ("weight-only", "avx512-vnni"), ("weight-only", "avx2")],
)
def test_blocks_and_floats_overflow_nowhere(
    kind: str, target: str, on: Callable[[str], None], bundle_of: MakeBundle
) -> None:
    bundle = bundle_of(kind, target)
    for cpuinfo, here in ((HASWELL, "avx2"), (ICELAKE, "avx512-vnni")):
        on(cpuinfo)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load(bundle.folder)
        words = bundle.manifest.fit_here(ENGINES["onnxruntime"].weight_range)
        assert words.startswith("correct; this CPU")
        assert words.endswith(here)


def test_a_bundle_of_less_than_could_be_is_warned_of_once(on: Callable[[str], None], bundle_of: MakeBundle) -> None:
    on(ICELAKE)
    folder = bundle_of("dynamic", "avx2").folder
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            load(folder)
    assert [warning.category for warning in seen] == [TargetWarning]
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder, allow_any_cpu=True)
        load(bundle_of("dynamic", "portable").folder)


def test_a_cpu_whose_kernel_was_wrong_in_older_versions(
    on: Callable[[str], None], bundle_of: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.24.4")
    on(SAPPHIRE)
    for kind in ("portable", "avx512-vnni"):
        with pytest.raises(UnfitMachineError, match=r"int8 on this CPU \(amx\) needs 1.25"):
            load(bundle_of("dynamic", kind).folder, engine="onnxruntime")
    load(bundle_of("dynamic", "portable").folder, allow_any_cpu=True)
    load(bundle_of(FLOAT).folder)
    on(ICELAKE)
    load(bundle_of("dynamic", "amx").folder)


def test_a_model_that_is_not_what_the_manifest_says(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    masked, everywhere = bundle_of("dynamic"), bundle_of("dynamic", positions="all")
    folder = Path(shutil.copytree(masked.folder, tmp_path / "bundle"))
    shutil.copy(everywhere.model_path, folder / "model.onnx")
    (folder / "manifest.json").unlink()
    write_manifest(folder, replace(masked.manifest, files=file_entries(folder)))
    with pytest.raises(BundleError, match=r"takes .*logits_end.* and gives last_hidden_state \(..., 32\).*manifest"):
        load(folder, engine="onnxruntime")


def test_what_onnxruntime_cannot_run_is_an_error_of_two_lines(bundle_of: Callable[..., Bundle]) -> None:
    sessions = Sessions(bundle_of("dynamic").model_path, threads=1)
    with pytest.raises(BundleError, match="model.onnx: onnxruntime .* cannot run it"):
        sessions.run({"input_ids": np.zeros((1, 4), dtype=np.float32)}, 1)  # type: ignore[dict-item]


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems all names are Unicode")
@pytest.mark.parametrize("format", ["onnx", "ort"])
def test_a_folder_whose_name_is_not_utf8(model_folder: Path, tmp_path: Path, format: str) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/made"))
    made = export(model_folder, folder, format=format)
    runtime = load(folder)
    assert len(runtime.fill_mask("a [MASK]")) == 1
    assert verify(runtime).passed
    if format == "onnx":
        assert PaddedPredictor(made, threads=1).name == "made"
    assert [path.name for path in folder.parent.iterdir()] == ["made"]
