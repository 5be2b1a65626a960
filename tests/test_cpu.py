"""What a CPU says about itself, on the systems that say it differently."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge import cpu
from bertedge.cpu import ARM, X86, Cpu, from_sysctl, numpy_features, parse_cpuinfo, this_cpu
from tests.test_target import A72, HASWELL, ICELAKE


@pytest.mark.parametrize(
    ("cpuinfo", "model", "features"),
    [
        (HASWELL, "Haswell", {"sse", "avx", "avx2", "fma"}),
        (A72, "0xd08", {"fp", "asimd", "crc32"}),
        (HASWELL + ICELAKE, "Haswell", {"sse", "avx", "avx2", "fma"}),  # every core says it again; the first one counts
        ("model name : Xeon: the second\nflags :\n", "Xeon: the second", set()),
    ],
)
def test_name_and_features(cpuinfo: str, model: str, features: set[str]) -> None:
    found = parse_cpuinfo(cpuinfo, "any")
    assert (found.model, found.features) == (model, features)
    assert found.identified == bool(features)


@given(st.text())
def test_any_text_is_a_cpuinfo(text: str) -> None:
    assert parse_cpuinfo(text, X86).arch == X86


def afresh(monkeypatch: pytest.MonkeyPatch, *, system: str, machine: str, cpuinfo: Path) -> Cpu:
    """Detection as it would run on another system."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu, "CPUINFO", cpuinfo)
    return this_cpu.__wrapped__()


@pytest.mark.parametrize(
    ("machine", "arch"),
    [("x86_64", X86), ("AMD64", X86), ("aarch64", ARM), ("arm64", ARM), ("ARM64", ARM), ("riscv64", "riscv64")],
)
def test_systems_have_their_own_words_for_an_architecture(
    machine: str, arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert afresh(monkeypatch, system="Windows", machine=machine, cpuinfo=tmp_path / "none").arch == arch


def test_without_cpuinfo_numpy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = afresh(monkeypatch, system="Windows", machine="AMD64", cpuinfo=tmp_path / "none")
    assert found.features == numpy_features()


@pytest.mark.skipif(not cpu.CPUINFO.exists(), reason="this system has no /proc/cpuinfo to compare with")
def test_numpy_and_linux_agree_about_this_machine() -> None:
    linux = this_cpu().features
    assert numpy_features() <= linux
    assert linux & set(cpu.NUMPY_FEATURES.values()) == numpy_features()


def test_a_numpy_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "NUMPY_REPORTS", ("numpy.no_such_module", "math"))
    assert numpy_features() == frozenset()


def test_a_mac_with_an_arm_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "hw.optional.AdvSIMD": b"\1\0\0\0",
        "hw.optional.arm.FEAT_DotProd": b"\1\0\0\0",
        "hw.optional.arm.FEAT_I8MM": b"\1\0\0\0",
        "machdep.cpu.brand_string": b"Apple M2\0",
    }
    assert from_sysctl(values.get) == Cpu(arch=ARM, features=frozenset({"asimd", "asimddp"}), model="Apple M2")
    values["hw.optional.arm.FEAT_DotProd"] = b"\0\0\0\0"
    assert from_sysctl(values.get).features == {"asimd"}
    assert not from_sysctl({}.get).identified
    monkeypatch.setattr(cpu, "_sysctl", values.get)
    assert afresh(monkeypatch, system="Darwin", machine="arm64", cpuinfo=tmp_path / "none").model == "Apple M2"


@pytest.mark.skipif(platform.system() == "Darwin", reason="this system has sysctlbyname")
def test_no_sysctl_here() -> None:
    assert cpu._sysctl("hw.optional.AdvSIMD") is None


def test_only_the_beginning_of_cpuinfo_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(HASWELL + "\n" * cpu.CPUINFO_BYTES + "vendor_id : late\n")
    assert afresh(monkeypatch, system="Linux", machine="x86_64", cpuinfo=tmp_path / "cpuinfo").model == "Haswell"


def test_a_cpu_as_a_word() -> None:
    assert str(parse_cpuinfo(HASWELL, X86)) == "Haswell"
    assert str(Cpu(arch="riscv64", features=frozenset(), model="?")) == "riscv64, which could not be identified"
