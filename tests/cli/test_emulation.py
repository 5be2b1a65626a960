"""``verify --on``, ``verify --simulate`` and ``emulator-setup``, as far as they go without qemu."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.emulate.cpus import ARCHITECTURES
from bertedge.heads.parts import Parts
from bertedge.quantization import quantize
from tests.cli.test_cli import bertedge, typed
from tests.conftest import plain_metrics


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--on", "haswel"], "CPU 'haswel' cannot be emulated", "did you mean 'haswell'"),
        (["--on", " , "], "--on names no CPU", "--on cortex-a72,haswell"),
        (["--simulate", "avx-2"], "target 'avx-2' cannot be simulated", "did you mean 'avx2'"),
        (["--corpus", "x.txt", "--simulate", "avx2"], "--corpus needs the float model", "--reference MODEL"),
        (["--reference", "bertedge-small-en"], "--reference is for other CPUs", "bertedge bench"),
        (["--simulate", ""], "target '' cannot be simulated", "avx2"),
        (["--simulate", "avx2", "--examples", "4"], "--examples needs the float model", "--reference MODEL"),
        (["--simulate", "avx2", "--threads", "1"], "--threads is for this CPU", "leave it out"),
        (["--on", "haswell", "--allow-any-cpu"], "--allow-any-cpu is for this CPU", "leave it out"),
    ],
)
def test_wrong_arguments(bundle_of: Callable[..., Bundle], arguments: list[str], message: str, hint: str) -> None:
    done = typed("verify", bundle_of("static").folder, *arguments)
    assert done.returncode == 2
    error, way_out = done.stderr.splitlines()
    assert message in error
    assert hint in way_out


def test_without_qemu_or_system_there_is_a_way_out(bundle_of: Callable[..., Bundle]) -> None:
    done = typed("verify", bundle_of("static").folder, "--on", "cortex-a72")  # the tests' own cache has no system
    expected = "emulator-setup" if any(map(shutil.which, ARCHITECTURES["aarch64"].qemu)) else "qemu-user-static"
    assert done.returncode == 3
    assert expected in done.stderr.splitlines()[-1]


def test_setup_knows_its_architectures() -> None:
    done = typed("emulator-setup", "--arch", "arm64")
    assert done.returncode == 2
    assert "architecture 'arm64' cannot be emulated" in done.stderr
    assert "aarch64" in done.stderr


def test_a_broken_bundle_is_found_before_anything_runs(tmp_path: Path) -> None:
    done = typed("verify", tmp_path / "nowhere", "--on", "haswell")
    assert done.returncode == 3
    assert "no such bundle" in done.stderr


def test_a_simulation_as_json(bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path) -> None:
    folder = bundle_of("static").folder
    arguments = ["--reference", model_folder, "--corpus", corpus_file, "--examples", 8]
    done = typed("verify", folder, "--simulate", "avx2", *arguments, "--json")
    here, simulated = json.loads(done.stdout)
    assert done.returncode == 0
    assert (here["cpu"], here["judged"]) == ("this machine", False)
    assert (simulated["cpu"], simulated["target"], simulated["good"]) == ("avx2, simulated", "avx2", True)
    assert set(simulated["fidelity"]) == plain_metrics(Parts(("mlm", "nsp")))
    assert all(layer["cut_pairs"] == 0 for layer in simulated["saturation"].values())


def test_another_models_reference_is_refused(bundle_of: Callable[..., Bundle]) -> None:
    done = typed("verify", bundle_of("static").folder, "--simulate", "avx2", "--reference", "bertedge-small-en")
    assert done.returncode == 2
    assert "another vocabulary" in done.stderr


def test_models_in_ort_format_are_not_taken_apart(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    quantize(model_folder, tmp_path / "b", target="portable", calibration=corpus_file, format="ort")
    done = typed("verify", tmp_path / "b", "--simulate", "avx2")
    assert done.returncode == 2
    assert "in ort format cannot be split into operators" in done.stderr


def test_the_built_in_model_with_eight_bits_goes_wrong(built_in_of: Callable[[str], Bundle]) -> None:
    done = bertedge("verify", built_in_of("avx512-vnni").folder, "--simulate", "avx2")
    assert done.returncode == 1
    assert "avx2, simulated" in done.stderr
    assert "DIFFERENT" in done.stdout
    assert "encoder.layer.1.intermediate" in done.stdout
