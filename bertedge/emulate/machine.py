"""An emulated machine: qemu, a sysroot, and the ``/proc/cpuinfo`` of the CPU that qemu imitates."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bertedge
from bertedge.emulate.cpus import ARCHITECTURES, EmulatedCpu
from bertedge.emulate.guest import ANSWER, JOB, Answer, Job, batch_path, outputs_path, read_outputs, write_batch
from bertedge.emulate.sysroot import Sysroot
from bertedge.errors import UnfitMachineError
from bertedge.predictor import Batch, Outputs
from bertedge.records import from_json, read_json, write_json
from bertedge.scratch import temporary_folder


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """What a bundle did on an emulated CPU.

    Attributes:
        answer: the golden vectors, and what the machine is.
        outputs: of every batch that was handed over.
    """

    answer: Answer
    outputs: tuple[Outputs, ...]


@dataclass(frozen=True, kw_only=True)
class EmulatedMachine:
    """A CPU with what it takes to run Python on it."""

    cpu: EmulatedCpu
    qemu: str
    sysroot: Sysroot

    def run(self, bundle: Path, batches: Sequence[Batch] = ()) -> Replay:
        """Replay a bundle's golden vectors, and run batches through it.

        Raises:
            UnfitMachineError: the emulated process did not come to its end.
        """
        with temporary_folder() as scratch:
            write_json(scratch / JOB, Job(bundle=str(bundle.resolve()), batches=len(batches)))
            for index, batch in enumerate(batches):
                write_batch(batch_path(scratch, index), batch)
            self.run_python(["-m", "bertedge.emulate.guest", str(scratch)], scratch)
            return Replay(
                answer=from_json(Answer, read_json(scratch / ANSWER), ANSWER),
                outputs=tuple(read_outputs(outputs_path(scratch, index)) for index in range(len(batches))),
            )

    def run_python(self, arguments: Sequence[str], scratch: Path) -> str:
        """Run Python with this very bertedge there.

        Args:
            scratch: a folder for what stands for ``/``.

        Returns:
            What it wrote to stdout.

        Raises:
            UnfitMachineError: it did not come to its end.
        """
        prefix = self._prefix(scratch / "prefix")
        packages = scratch / "packages"
        packages.mkdir()
        (packages / "bertedge").symlink_to(Path(bertedge.__file__).resolve().parent)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(scratch),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{packages}:{self.sysroot.site}",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # the sysroot stays as it is
        }
        command = [self.qemu, "-L", str(prefix), "-cpu", self.cpu.qemu, str(prefix / self.sysroot.python), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise UnfitMachineError(
                f"{self.cpu.name}: the emulated process {_end(done.returncode, done.stderr)}",
                "is qemu 7.2 or newer, and is there memory left? otherwise the bundle cannot run on this CPU",
            )
        return done.stdout

    def _prefix(self, folder: Path) -> Path:
        """The sysroot's root with the CPU's own ``/proc/cpuinfo``; what is not there is the host's."""
        (folder / "proc").mkdir(parents=True)
        (folder / "proc/cpuinfo").write_text(self.cpu.cpuinfo_text(), encoding="utf-8")
        for entry in self.sysroot.root.iterdir():
            (folder / entry.name).symlink_to(entry)
        return folder


def find_qemu(arch: str) -> str:
    """The program that runs binaries of an architecture.

    Raises:
        UnfitMachineError: it is not installed.
    """
    names = ARCHITECTURES[arch].qemu
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise UnfitMachineError(
            f"{' or '.join(names)} not found, and it takes one to run {arch} programs",
            "install the package qemu-user-static (Debian, Ubuntu, Fedora) or qemu-user; it exists for Linux only",
        )
    return found


def _end(code: int, stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("hint:")]
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}" + (f" ({lines[-1].strip()})" if lines else "")
    return f"failed: {lines[-1].strip()}" if lines else f"failed with exit code {code}"
