"""CPU targets, and what runs where."""

from __future__ import annotations

import warnings

import pytest

from bertedge import target
from bertedge.cpu import ARM, X86, Cpu, parse_cpuinfo
from bertedge.errors import TargetWarning, UnfitMachineError, UsageError
from bertedge.target import (
    PORTABLE,
    TARGETS,
    Fit,
    best_target,
    describe_fit,
    explain,
    fit,
    require_fit,
    resolve_target,
    warn_if_less_accurate,
)
from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE

HASWELL = "processor\t: 0\nmodel name\t: Haswell\nflags\t\t: sse avx avx2 fma\n"
SKYLAKE = "model name\t: Skylake\nflags\t\t: avx2 fma avx512f avx512bw avx512dq avx512vl\n"
ICELAKE = "model name\t: Ice Lake\nflags\t\t: avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni\n"
SAPPHIRE = (
    "model name\t: Sapphire Rapids\n"
    "flags\t\t: avx2 fma avx_vnni avx512f avx512bw avx512dq avx512vl avx512_vnni amx_bf16 amx_tile amx_int8\n"
)
ALDER = "model name\t: Alder Lake\nflags\t\t: avx2 fma avx_vnni\n"
NEHALEM = "model name\t: Nehalem\nflags\t\t: sse sse4_2\n"
A72 = "processor\t: 0\nFeatures\t: fp asimd crc32\nCPU part\t: 0xd08\n"
A76 = "Features\t: fp asimd asimddp\nCPU part\t: 0xd0b\n"
GRAVITON3 = "Features\t: fp asimd asimddp sve i8mm svei8mm\nCPU part\t: 0xd40\n"
UNKNOWN = Cpu(arch="riscv64", features=frozenset(), model="?")
CPUS = [
    (HASWELL, X86, "avx2"),
    (SKYLAKE, X86, "avx512"),
    (ICELAKE, X86, "avx512-vnni"),
    (SAPPHIRE, X86, "amx"),
    (ALDER, X86, "avx-vnni"),
    (NEHALEM, X86, "portable"),
    (A72, ARM, "arm64"),
    (A76, ARM, "arm64-dotprod"),
    (GRAVITON3, ARM, "arm64-i8mm"),
    ("", X86, "portable"),
    ("", "riscv64", "portable"),
    ("nonsense without colons", ARM, "portable"),
]


@pytest.mark.parametrize(("cpuinfo", "arch", "name"), CPUS)
def test_auto_is_the_best_row_that_fits(cpuinfo: str, arch: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(cpuinfo, arch))
    assert resolve_target("auto").name == name
    assert explain("auto").startswith(f"{name} (this CPU is ")
    assert explain(name) == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_fit(name)
        warn_if_less_accurate(name, stacklevel=1)


@pytest.mark.parametrize(("cpuinfo", "arch", "name"), CPUS)
def test_one_file_for_all_is_taken_everywhere_in_silence(
    cpuinfo: str, arch: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(cpuinfo, arch))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_fit(PORTABLE)
        warn_if_less_accurate(PORTABLE, stacklevel=1)
    assert describe_fit(PORTABLE).startswith("correct")


@pytest.mark.parametrize(("cpuinfo", "arch"), [(HASWELL, X86), (SKYLAKE, X86), (NEHALEM, X86), ("", X86)])
@pytest.mark.parametrize("name", [row.name for row in TARGETS.values() if row.weight_range == FULL_RANGE])
def test_full_range_weights_are_refused_without_vnni(
    name: str, cpuinfo: str, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(cpuinfo, arch))
    with pytest.raises(UnfitMachineError, match="overflow"):
        require_fit(name)


@pytest.mark.parametrize(("cpuinfo", "arch"), [(ICELAKE, X86), (ALDER, X86), (SAPPHIRE, X86), (A72, ARM), (A76, ARM)])
@pytest.mark.parametrize("name", ["avx512-vnni", "arm64"])
def test_another_architecture_is_right_where_its_weights_are(
    name: str, cpuinfo: str, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(cpuinfo, arch))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_fit(name)
        warn_if_less_accurate(name, stacklevel=1)


def test_smaller_weights_for_a_lesser_cpu_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(ICELAKE, X86))
    with pytest.warns(TargetWarning, match=r"smaller weights of avx2.*Ice Lake.*--target avx512-vnni"):
        warn_if_less_accurate("avx2", stacklevel=1)
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(SKYLAKE, X86))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_less_accurate("avx2", stacklevel=1)


@pytest.mark.parametrize(("cpuinfo", "arch", "name"), CPUS)
def test_the_rule_is_arithmetic(cpuinfo: str, arch: str, name: str) -> None:
    """Two products of the kernel's operands must fit where it adds them."""
    here = best_target(parse_cpuinfo(cpuinfo, arch))
    in_16_bits = "vpmaddubsw" in here.kernel or here.name == PORTABLE
    if in_16_bits:  # uint8 times int8
        assert 255 * here.weight_range.pair < 2**15 < 255 * (here.weight_range.pair + 1)
    if "smlal" in here.kernel:  # int8 times int8
        assert 2 * 128 * here.weight_range.largest < 2**15 <= 2 * 128 * (here.weight_range.largest + 1)
    for row in TARGETS.values():
        assert (fit(row, here) is Fit.wrong) == (not row.weight_range.within(here.weight_range))


def test_unknown_target() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_target("avx512vnni")
    assert "did you mean 'avx512-vnni'" in caught.value.hint
    assert "arm64-i8mm" in caught.value.hint


@pytest.mark.parametrize("name", [*TARGETS, "auto"])
def test_every_name_has_a_row(name: str) -> None:
    row = resolve_target(name)
    assert row.weight_range in (PAIRED_RANGE, FULL_RANGE)
    assert row.reason
    assert row.kernel
    assert name in ("auto", row.name)


def test_better_rows_come_first() -> None:
    """A CPU that satisfies a row satisfies the lesser ones behind it, and finds its own before them."""
    for row in TARGETS.values():
        if row.name != PORTABLE:
            assert best_target(Cpu(arch=row.arch, features=row.required_features, model="?")) is row


def test_a_refusal_names_both_cpus_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(HASWELL, X86))
    with pytest.raises(UnfitMachineError, match=r"avx512-vnni.*Haswell") as caught:
        require_fit("avx512-vnni")
    assert "--target portable" in caught.value.hint
    assert "--allow-any-cpu" in caught.value.hint


def test_a_cpu_that_cannot_be_identified_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: UNKNOWN)
    assert "portable (this CPU is riscv64, which could not be identified" in explain("auto")
    with pytest.raises(UnfitMachineError, match=r"could not be identified\) its sums may overflow"):
        require_fit("arm64")


def test_minimal_builds_have_no_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(ICELAKE, X86))
    assert resolve_target("auto", minimal_build=True).name == PORTABLE
    assert "portable (" in explain("auto", minimal_build=True)
    for name in ("avx512-vnni", "amx"):
        with pytest.raises(UsageError, match="minimal builds") as caught:
            resolve_target(name, minimal_build=True)
        assert "--target portable" in caught.value.hint
    for name in ("avx2", "avx512", "avx-vnni", "arm64", "arm64-i8mm"):
        assert resolve_target(name, minimal_build=True).name == name
