"""Run one bundle on several CPUs, and collect the results of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from bertedge.emulate.cpus import EmulatedCpu
from bertedge.emulate.emulated_machine import PACKAGE, EmulatedMachine, find_qemu
from bertedge.emulate.emulated_system import default_folder, open_system
from bertedge.emulate.native_library import native_library
from bertedge.emulate.saturate import Saturation
from bertedge.engines.native import NATIVE
from bertedge.engines.numpy import NUMPY
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.errors import UnfitMachineError
from bertedge.metric import MetricValue
from bertedge.progress import Listener, no_progress
from bertedge.runtime import BertRuntime
from bertedge.runtime.golden import Verification, verify
from bertedge.target import resolve_target

if TYPE_CHECKING:
    from bertedge.emulate.sample import Sample
    from bertedge.emulate.simulate import SimulatedModel

HERE = "this machine"
#: The engines that are emulated. The engine in numpy is not: it is for tests, and slow.
EMULATED = (ONNXRUNTIME.name, NATIVE.name)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A bundle on one CPU, computed by one engine.

    Attributes:
        cpu: the CPU's name in the table.
        engine: the engine's name.
        target: the best target that the CPU satisfies.
        refusal: why the loader refuses the bundle there; None if it does not. The bundle was measured in both cases.
        judged: whether it counts for the verdict; otherwise it is only shown for comparison.
        saturation: layer -> sums that were cut, where they can be counted.
        fidelity: metrics against float, where a sample was given.
    """

    cpu: str
    engine: str
    target: str
    refusal: str | None = None
    judged: bool = True
    verification: Verification
    saturation: dict[str, Saturation] = field(default_factory=dict)
    fidelity: dict[str, MetricValue] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether the loader accepts the bundle there, and its golden vectors match."""
        return self.refusal is None and self.verification.passed

    @property
    def all_saturation(self) -> Saturation:
        """The saturation of all layers together."""
        return reduce(add, self.saturation.values(), Saturation())


def open_machines(cpus: Sequence[EmulatedCpu]) -> list[EmulatedMachine]:
    """A machine for each CPU; the files of each architecture are checked once.

    Raises:
        UnfitMachineError: qemu or the system of an architecture is missing.
        FileError: a system was altered.
    """
    qemu = {arch: find_qemu(arch) for arch in sorted({cpu.arch for cpu in cpus})}
    systems = {arch: open_system(default_folder(arch), arch) for arch in qemu}
    native = {arch: _native(arch) for arch in qemu}
    return [
        EmulatedMachine(cpu=cpu, qemu=qemu[cpu.arch], system=systems[cpu.arch], native=native[cpu.arch]) for cpu in cpus
    ]


def _native(arch: str) -> Path | None:
    try:
        return native_library(PACKAGE, arch)
    except UnfitMachineError as error:
        _log.warning("%s", error)
        return None


def emulated(
    machines: Sequence[EmulatedMachine],
    bundle: Path,
    sample: Sample | None = None,
    listen: Listener = no_progress,
) -> Iterator[Finding]:
    """Run a bundle on emulated machines, one after the other, on each engine that can compute it there.

    Raises:
        UnfitMachineError: an emulated process failed, or no engine computes the bundle.
    """
    for index, machine in enumerate(machines):
        reasons = []
        for name in EMULATED:
            listen(index / len(machines), f"{machine.cpu.name}, {name}")
            answer, outputs = machine.run(bundle, sample.batches if sample else (), engine=name)
            if answer.verification is None:
                reasons.append(f"{machine.cpu.name}, {name}: {answer.refusal}")
                continue
            yield Finding(
                cpu=machine.cpu.name,
                engine=name,
                target=answer.target,
                refusal=answer.refusal,
                verification=answer.verification,
                fidelity=sample.fidelity(outputs) if sample else {},
            )
        if len(reasons) == len(EMULATED):
            raise UnfitMachineError("; ".join(reasons), "make the bundle again without --format and --method")
        for reason in reasons:
            _log.info("%s", reason)


def simulated(model: tuple[BertRuntime, SimulatedModel], target: str, sample: Sample | None) -> Finding:
    """Run a bundle as simulated by :func:`bertedge.emulate.simulate.simulate` for a target."""
    runtime, counter = model
    verification = verify(runtime)
    return Finding(
        cpu=f"{target}, simulated",
        engine=NUMPY.name,
        target=target,
        verification=verification,
        saturation=dict(counter.saturation),  # of the golden vectors only
        fidelity=_fidelity(runtime, sample) if sample else {},
    )


def on_this_machine(runtime: BertRuntime, sample: Sample) -> Finding:
    """Run a bundle on this machine, for comparison."""
    return Finding(
        cpu=HERE,
        engine=runtime.engine.name,
        target=resolve_target("auto").name,
        judged=False,
        verification=verify(runtime),
        fidelity=_fidelity(runtime, sample),
    )


def _fidelity(runtime: BertRuntime, sample: Sample) -> dict[str, MetricValue]:
    return sample.fidelity(tuple(runtime.predict(batch) for batch in sample.batches))
