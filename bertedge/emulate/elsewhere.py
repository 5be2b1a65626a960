"""One bundle on several CPUs: what each of them makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from bertedge.emulate.cpus import EmulatedCpu
from bertedge.emulate.machine import EmulatedMachine, find_qemu
from bertedge.emulate.saturate import Saturation
from bertedge.emulate.sysroot import default_folder, open_sysroot
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import Listener, no_progress
from bertedge.runtime import BertRuntime
from bertedge.runtime.golden import Verification, verify
from bertedge.target import resolve_target

if TYPE_CHECKING:
    from bertedge.emulate.sample import Sample
    from bertedge.emulate.simulate import SimulatedModel

HERE = "this machine"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A bundle on one CPU.

    Attributes:
        cpu: its name here.
        target: the best target that it satisfies.
        refusal: why the loader refuses the bundle there; the rest was found out all the same.
        judged: whether it counts, or stands there for comparison.
        saturation: layer -> sums that were cut, where they can be counted.
        fidelity: metrics against float, where a sample was given.
    """

    cpu: str
    target: str
    refusal: str | None = None
    judged: bool = True
    verification: Verification
    saturation: dict[str, Saturation] = field(default_factory=dict)
    fidelity: dict[str, MetricValue] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """The bundle may be used there, and does what it did where it was made."""
        return self.refusal is None and self.verification.passed

    @property
    def all_saturation(self) -> Saturation:
        """The saturation of all layers together."""
        return reduce(add, self.saturation.values(), Saturation())


def open_machines(cpus: Sequence[EmulatedCpu]) -> list[EmulatedMachine]:
    """Everything that emulating these CPUs takes; a sysroot is checked once.

    Raises:
        UnfitMachineError: something is missing.
        FileError: a sysroot was altered.
    """
    qemu = {arch: find_qemu(arch) for arch in sorted({cpu.arch for cpu in cpus})}
    sysroots = {arch: open_sysroot(default_folder(arch), arch) for arch in qemu}
    return [EmulatedMachine(cpu=cpu, qemu=qemu[cpu.arch], sysroot=sysroots[cpu.arch]) for cpu in cpus]


def find_out_emulated(
    machines: Sequence[EmulatedMachine],
    bundle: Path,
    sample: Sample | None = None,
    listen: Listener = no_progress,
) -> Iterator[Finding]:
    """Run a bundle on emulated CPUs, one after the other.

    Raises:
        UnfitMachineError: a process did not come to its end.
    """
    for index, machine in enumerate(machines):
        listen(index / len(machines), machine.cpu.name)
        replay = machine.run(bundle, sample.batches if sample else ())
        yield Finding(
            cpu=machine.cpu.name,
            target=replay.answer.target,
            refusal=replay.answer.refusal,
            verification=replay.answer.verification,
            fidelity=sample.fidelity(replay.outputs) if sample else {},
        )


def find_out_simulated(simulated: tuple[BertRuntime, SimulatedModel], target: str, sample: Sample | None) -> Finding:
    """Run what :func:`bertedge.emulate.simulate.simulated` made for a target."""
    runtime, model = simulated
    verification = verify(runtime)
    return Finding(
        cpu=f"{target}, simulated",
        target=target,
        verification=verification,
        saturation=dict(model.saturation),  # of the golden vectors
        fidelity=sample.fidelity(_predicted(runtime, sample.batches)) if sample else {},
    )


def find_out_here(runtime: BertRuntime, sample: Sample) -> Finding:
    """Run a bundle as it is, for comparison."""
    return Finding(
        cpu=HERE,
        target=resolve_target("auto").name,
        judged=False,
        verification=verify(runtime),
        fidelity=sample.fidelity(_predicted(runtime, sample.batches)),
    )


def _predicted(predictor: Predictor, batches: Sequence[Batch]) -> tuple[Outputs, ...]:
    return tuple(predictor.predict(batch) for batch in batches)
