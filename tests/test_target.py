"""CPU targets, and what runs where."""

from __future__ import annotations

import pytest

from bertedge import target
from bertedge.errors import UnfitMachineError, UsageError
from bertedge.target import TARGETS, Cpu, parse_cpuinfo, require_fit, resolve_target

HASWELL = "processor\t: 0\nmodel name\t: Haswell\nflags\t\t: sse avx avx2 fma\n"
ICELAKE = "model name\t: Ice Lake\nflags\t\t: avx2 avx512f avx512_vnni\n"
ALDER = "model name\t: Alder Lake\nflags\t\t: avx2 avx_vnni\n"
A72 = "processor\t: 0\nFeatures\t: fp asimd crc32\nCPU part\t: 0xd08\n"
A76 = "Features\t: fp asimd asimddp\nCPU part\t: 0xd0b\n"


@pytest.mark.parametrize(
    ("cpuinfo", "arch", "name"),
    [
        (HASWELL, "x86_64", "avx2"),
        (ICELAKE, "x86_64", "avx512-vnni"),
        (ALDER, "x86_64", "avx-vnni"),
        (A72, "aarch64", "arm64"),
        (A76, "aarch64", "arm64-dotprod"),
        ("", "x86_64", "portable"),
        ("", "riscv64", "portable"),
        ("nonsense without colons", "aarch64", "portable"),
    ],
)
def test_auto_is_the_best_row_that_fits(cpuinfo: str, arch: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(cpuinfo, arch))
    assert resolve_target("auto").name == name
    require_fit(name)


@pytest.mark.parametrize("name", [row.name for row in TARGETS.values() if row.weight_range == 127])
def test_full_range_weights_are_refused_without_vnni(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(HASWELL, "x86_64"))
    with pytest.raises(UnfitMachineError, match="overflow"):
        require_fit(name)


@pytest.mark.parametrize("name", [row.name for row in TARGETS.values() if row.weight_range == 63])
def test_seven_bit_weights_run_anywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpu in (parse_cpuinfo(A72, "aarch64"), Cpu(arch="riscv64", features=frozenset(), model="?")):
        monkeypatch.setattr(target, "this_cpu", lambda cpu=cpu: cpu)
        require_fit(name)


def test_unknown_target() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_target("avx512vnni")
    assert "did you mean 'avx512-vnni'" in caught.value.hint


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
    cpu = parse_cpuinfo(cpuinfo, "any")
    assert (cpu.model, cpu.features) == (model, features)


def test_weights_that_are_exact_on_each_cpu() -> None:
    samples = [(HASWELL, "x86_64"), (ICELAKE, "x86_64"), (ALDER, "x86_64"), (A72, "aarch64"), ("", "riscv64")]
    assert [parse_cpuinfo(*sample).exact_weight_range for sample in samples] == [63, 127, 127, 127, 63]


@pytest.mark.parametrize("name", [*TARGETS, "auto"])
def test_every_name_has_a_row(name: str) -> None:
    row = resolve_target(name)
    assert row.weight_range in (63, 127)
    assert row.reason
    assert name in ("auto", row.name)


def test_a_refusal_names_both_cpus_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(HASWELL, "x86_64"))
    with pytest.raises(UnfitMachineError, match=r"avx512-vnni.*Haswell") as caught:
        require_fit("avx512-vnni")
    assert "--target portable" in caught.value.hint
    with pytest.raises(UsageError, match="avx9"):
        require_fit("avx9")
