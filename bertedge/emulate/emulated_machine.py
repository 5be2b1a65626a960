"""An emulated machine: qemu, a small system, and the ``/proc/cpuinfo`` of the CPU that qemu emulates."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bertedge
from bertedge.emulate.cpus import ARCHITECTURES, EmulatedCpu
from bertedge.emulate.emulated_job import Answer, read_answer, write_job
from bertedge.emulate.emulated_system import EmulatedSystem
from bertedge.emulate.native_library import link_package
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.errors import UnfitMachineError
from bertedge.predictor import Batch, Outputs
from bertedge.scratch import temporary_folder

#: This copy of bertedge.
PACKAGE = Path(bertedge.__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class EmulatedMachine:
    """A CPU, and the programs and files that run Python on it.

    Attributes:
        native: the folder of the native engine's library for this CPU; None if there is none.
    """

    cpu: EmulatedCpu
    qemu: str
    system: EmulatedSystem
    native: Path | None = None

    def run(
        self, bundle: Path, batches: Sequence[Batch] = (), *, engine: str = ONNXRUNTIME.name
    ) -> tuple[Answer, tuple[Outputs, ...]]:
        """Replay a bundle's golden vectors on an engine, and run batches through it.

        Returns:
            The machine's results, and the outputs of each batch.

        Raises:
            UnfitMachineError: the emulated process failed.
        """
        with temporary_folder() as scratch:
            write_job(scratch, bundle, tuple(batches), engine)
            self.run_python(["-m", "bertedge.emulate.emulated_job", str(scratch)], scratch)
            return read_answer(scratch)

    def run_python(self, arguments: Sequence[str], scratch: Path) -> str:
        """Run Python with this copy of bertedge on the machine, and return what it wrote to stdout.

        Args:
            scratch: a folder for temporary files.

        Raises:
            UnfitMachineError: the emulated process failed.
        """
        root = self._root(scratch / "root")
        packages = scratch / "packages"
        packages.mkdir()
        link_package(PACKAGE, packages / "bertedge", self.native)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(scratch),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{packages}:{self.system.site}",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # writes no .pyc files: the system's files must match its lock
        }
        command = [self.qemu, "-L", str(root), "-cpu", self.cpu.qemu, str(root / self.system.python), *arguments]
        # Python finds modules in the current folder first: a checkout there would bring this machine's native library.
        done = subprocess.run(
            command, env=environment, cwd=scratch, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            raise UnfitMachineError(
                f"{self.cpu.name}: the emulated process {_end(done.returncode, done.stderr)}",
                "is qemu 7.2 or newer, and is there memory left? otherwise the bundle cannot run on this CPU",
            )
        return done.stdout

    def _root(self, folder: Path) -> Path:
        """A root folder: the system's files with the CPU's ``/proc/cpuinfo``. Other paths are this machine's."""
        (folder / "proc").mkdir(parents=True)
        (folder / "proc/cpuinfo").write_text(self.cpu.cpuinfo_text(), encoding="utf-8")
        for entry in self.system.root.iterdir():
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
            f"{' or '.join(names)} not found, which runs {arch} programs",
            "install the package qemu-user-static (Debian, Ubuntu, Fedora) or qemu-user; it exists for Linux only",
        )
    return found


def _end(code: int, stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("hint:")]
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}" + (f" ({lines[-1].strip()})" if lines else "")
    return f"failed: {lines[-1].strip()}" if lines else f"failed with exit code {code}"
