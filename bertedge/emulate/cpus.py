"""The CPUs that can be emulated. A new CPU is one row, and so is a new architecture."""

from __future__ import annotations

from dataclasses import dataclass

from bertedge.cpu import ARM, X86
from bertedge.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An instruction set, with the names that tools give it.

    Attributes:
        debian: its name in Debian's package lists.
        qemu: programs that run its binaries, best first; the ``-static`` ones need no libraries of this machine.
        compiler: the C++ compiler for it, also on other machines; Debian's package has the same name.
    """

    name: str
    debian: str
    qemu: tuple[str, ...]
    compiler: str


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(
            name=ARM,
            debian="arm64",
            qemu=("qemu-aarch64-static", "qemu-aarch64"),
            compiler="aarch64-linux-gnu-g++",
        ),
        Architecture(
            name=X86, debian="amd64", qemu=("qemu-x86_64-static", "qemu-x86_64"), compiler="x86_64-linux-gnu-g++"
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class EmulatedCpu:
    """A CPU as qemu emulates it.

    onnxruntime chooses its kernels by ``/proc/cpuinfo`` on ARM and by ``cpuid`` on x86, and bertedge reads
    ``/proc/cpuinfo`` on both. So every row describes the CPU twice: for qemu, and for that file.

    Attributes:
        qemu: the value of qemu's ``-cpu``; ``,-name`` removes a feature that qemu does not emulate.
        cpuinfo: fields of ``/proc/cpuinfo``.
        target: the target that bertedge should find there.
    """

    name: str
    arch: str
    qemu: str
    cpuinfo: dict[str, str]
    target: str

    def cpuinfo_text(self) -> str:
        """The text of ``/proc/cpuinfo`` on a machine with one core of this CPU."""
        lines = [f"{key}\t: {value}" for key, value in {"processor": "0", **self.cpuinfo}.items()]
        return "\n".join(lines) + "\n\n"


def _arm(name: str, qemu: str, part: str, features: str, target: str) -> EmulatedCpu:
    cpuinfo = {
        "BogoMIPS": "108.00",
        "Features": features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x0",
        "CPU part": part,
        "CPU revision": "3",
    }
    return EmulatedCpu(name=name, arch=ARM, qemu=qemu, cpuinfo=cpuinfo, target=target)


def _intel(name: str, qemu: str, model: tuple[str, str], flags: str, target: str) -> EmulatedCpu:
    number, words = model
    cpuinfo = {
        "vendor_id": "GenuineIntel",
        "cpu family": "6",
        "model": number,
        "model name": words,
        "stepping": "1",
        "flags": flags,
    }
    return EmulatedCpu(name=name, arch=X86, qemu=qemu, cpuinfo=cpuinfo, target=target)


V8_0 = "fp asimd aes pmull sha1 sha2 crc32 cpuid"
V8_2 = f"{V8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
V8_6 = f"{V8_2} jscvt fcma sha3 asimdfhm dit flagm i8mm bf16"
SSE_4_2 = "fpu de pse tsc msr pae cx8 cmov mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt"
AVX_2 = f"{SSE_4_2} pclmulqdq fma movbe aes xsave avx f16c rdrand abm fsgsbase bmi1 avx2 bmi2 erms"
HASWELL = "Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid"

CPUS = {
    row.name: row
    for row in (
        _arm("cortex-a53", "cortex-a53", "0xd03", V8_0, "arm64"),  # Raspberry Pi 3
        _arm("cortex-a72", "cortex-a72", "0xd08", V8_0, "arm64"),  # Raspberry Pi 4
        _arm("cortex-a76", "cortex-a76", "0xd0b", V8_2, "arm64-dotprod"),  # Raspberry Pi 5
        _arm("neoverse-n1", "neoverse-n1", "0xd0c", V8_2, "arm64-dotprod"),  # ARM in the cloud
        # qemu has no Neoverse V1 or N2; without SME, whose results were wrong under qemu 7.2
        _arm("armv8.6", "max,sme=off,sve=off", "0xd40", V8_6, "arm64-i8mm"),
        # before AVX2: sums in 32 bits, slowly
        _intel("nehalem", "Nehalem", ("26", "Intel Core i7 9xx (Nehalem Class Core i7)"), SSE_4_2, "portable"),
        _intel("haswell", HASWELL, ("60", "Intel Core Processor (Haswell)"), AVX_2, "avx2"),
    )
}

#: Targets whose CPUs add pairs of products in 16 bits; numpy can simulate this. qemu cannot emulate AVX512 for a
#: comparison, but onnxruntime packs the inputs for it as for AVX2.
SIMULATED = ("avx2", "avx512")


def emulated_cpu(name: str) -> EmulatedCpu:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in CPUS:
        raise UsageError(f"CPU {name!r} cannot be emulated", nearest(name, CPUS))
    return CPUS[name]
