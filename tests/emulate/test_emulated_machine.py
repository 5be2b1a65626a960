"""The built-in model on emulated CPUs; needs qemu and the systems of ``bertedge emulator-setup``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertedge.bundle import GOLDEN, Bundle
from bertedge.data.cache import user_cache
from bertedge.emulate.cpus import CPUS, EmulatedCpu
from bertedge.emulate.emulated_machine import EmulatedMachine
from bertedge.emulate.findings import open_machines
from bertedge.emulate.simulate import simulate
from bertedge.errors import UnfitMachineError
from bertedge.predictor import Batch
from bertedge.runtime import load
from bertedge.runtime.golden import TOLERANCE, verify
from tests.cli.test_cli import bertedge

#: Where the systems are; read before the tests get a cache of their own.
CACHE = user_cache().parent
RESOLVE = "from bertedge.target import resolve_target\nprint(resolve_target('auto').name)"


@pytest.fixture
def machine_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], EmulatedMachine]:
    """Open an emulated machine by its CPU's name, or skip."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))

    def make(name: str) -> EmulatedMachine:
        try:
            return open_machines([CPUS[name]])[0]
        except UnfitMachineError as error:
            pytest.skip(f"no emulated {name}: {error}")

    return make


@pytest.fixture(scope="module")
def built_in(built_in_of: Callable[[str], Bundle]) -> Callable[[str], Path]:
    """The folder of the built-in model in int8, for a target."""
    return lambda target: built_in_of(target).folder


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_detection_finds_the_target(
    machine_of: Callable[[str], EmulatedMachine], cpu: EmulatedCpu, tmp_path: Path
) -> None:
    assert machine_of(cpu.name).run_python(["-c", RESOLVE], tmp_path).strip() == cpu.target


@pytest.mark.parametrize("name", ["cortex-a72", "cortex-a76", "haswell"])
def test_portable_is_right_everywhere(
    machine_of: Callable[[str], EmulatedMachine], built_in: Callable[[str], Path], name: str
) -> None:
    machine = machine_of(name)
    answer, _ = machine.run(built_in("portable"))
    assert answer.machine == machine.cpu.arch
    assert answer.refusal is None
    assert answer.verification is not None
    assert answer.verification.passed  # best words too, save those that led by less than rounding explains


@pytest.mark.parametrize(
    ("name", "kernel"), [("cortex-a72", "neon"), ("cortex-a76", "neon-dotprod"), ("armv8.6", "neon-i8mm")]
)
def test_the_native_engine_is_right_on_arm(
    machine_of: Callable[[str], EmulatedMachine], built_in: Callable[[str], Path], name: str, kernel: str
) -> None:
    machine = machine_of(name)
    if machine.native is None:
        pytest.skip("the native engine is not built for aarch64")
    answer, _ = machine.run(built_in("portable"), engine="native")
    assert answer.runs.split("; ")[0] == f"int8 kernel on this CPU: {kernel}"
    assert answer.refusal is None
    assert answer.verification is not None
    assert answer.verification.passed


def test_full_range_goes_wrong_on_haswell_as_simulated(
    machine_of: Callable[[str], EmulatedMachine], built_in: Callable[[str], Path]
) -> None:
    bundle = built_in("avx512-vnni")
    answer, _ = machine_of("haswell").run(bundle)
    assert "its sums overflow" in (answer.refusal or "")
    assert answer.verification is not None
    assert not answer.verification.passed
    assert not answer.verification.top1_equal
    assert answer.verification.max_prob_diff > 0.1
    runtime, model = simulate(bundle, "avx2")
    expected = verify(runtime)
    assert sum(seen.cut_pairs for seen in model.saturation.values()) > 0
    # on a machine whose float kernels sum in the order of Haswell's it is the same to the bit
    assert answer.verification.max_prob_diff == pytest.approx(expected.max_prob_diff, abs=expected.tolerance)
    assert answer.verification.max_state_diff == pytest.approx(expected.max_state_diff, rel=0.1)


def test_two_terms_do_not_stand_on_an_edge(
    machine_of: Callable[[str], EmulatedMachine], bundle_of: Callable[..., Bundle]
) -> None:
    answer, _ = machine_of("cortex-a72").run(bundle_of("faithful").folder)
    assert answer.verification is not None
    assert answer.verification.max_prob_diff <= TOLERANCE


def test_batches_come_back(machine_of: Callable[[str], EmulatedMachine], bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("faithful")
    with np.load(bundle.folder / GOLDEN) as stored:
        inputs = {name.removeprefix("input."): array for name, array in stored.items() if name.startswith("input.")}
    batch = Batch.of(inputs)
    expected = load(bundle.folder, engine="onnxruntime").predict(batch)
    _, (outputs,) = machine_of("haswell").run(bundle.folder, [batch])
    found = outputs.arrays()
    assert found.keys() == expected.arrays().keys()
    for name, values in expected.arrays().items():
        np.testing.assert_allclose(found[name], values, atol=1e-2)


def test_the_command(machine_of: Callable[[str], EmulatedMachine], bundle_of: Callable[..., Bundle]) -> None:
    machine_of("haswell")
    good = bertedge("verify", bundle_of("faithful").folder, "--on", "haswell")
    assert good.returncode == 0
    assert "takes it" in good.stdout
    bad = bertedge("verify", bundle_of("static", "avx512-vnni").folder, "--on", "haswell")
    assert bad.returncode == 1
    assert "refuses it" in bad.stdout
    assert "on haswell" in bad.stderr


def test_a_program_that_fails_is_an_error(machine_of: Callable[[str], EmulatedMachine], tmp_path: Path) -> None:
    with pytest.raises(UnfitMachineError, match="haswell: the emulated process failed: ZeroDivisionError"):
        machine_of("haswell").run_python(["-c", "1 / 0"], tmp_path)
