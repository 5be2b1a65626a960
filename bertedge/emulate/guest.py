"""What runs inside the emulated CPU: the runtime as it is, on one bundle. Started by :mod:`bertedge.emulate.machine`.

A folder is handed over: ``job.json`` and ``batch.<i>.npz`` go in, ``answer.json`` and ``outputs.<i>.npz`` come out.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertedge.cpu import this_cpu
from bertedge.engines.onnxruntime.versions import version
from bertedge.errors import UnfitMachineError
from bertedge.predictor import Batch, Outputs
from bertedge.records import from_json, read_json, to_json, write_json
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.golden import Verification, verify
from bertedge.target import resolve_target

JOB, ANSWER = "job.json", "answer.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run: a bundle's golden vectors, and so many batches."""

    bundle: str
    batches: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it.

    Attributes:
        machine: ``aarch64`` or ``x86_64``, as the operating system says.
        cpu: the CPU's own name.
        target: the best target that the CPU satisfies.
        onnxruntime: its version.
        refusal: why the loader refused the bundle there, or None; it ran all the same.
    """

    machine: str
    cpu: str
    target: str
    onnxruntime: str
    refusal: str | None
    verification: Verification


def batch_path(folder: Path, index: int) -> Path:
    """Where a batch is handed over."""
    return folder / f"batch.{index}.npz"


def outputs_path(folder: Path, index: int) -> Path:
    """Where its outputs are."""
    return folder / f"outputs.{index}.npz"


def write_batch(path: Path, batch: Batch) -> None:
    """Hand a batch over."""
    np.savez(path, allow_pickle=False, hidden=np.array(batch.hidden), **batch.arrays())


def read_outputs(path: Path) -> Outputs:
    """The outputs of a model."""
    with np.load(path, allow_pickle=False) as stored:
        return Outputs.of(dict(stored))


def _load(folder: str) -> tuple[BertRuntime, str | None]:
    """A bundle, and why the loader refused it at first."""
    try:
        return load(folder, threads=1), None
    except UnfitMachineError as error:
        return load(folder, threads=1, allow_any_cpu=True), error.message


def main(folder: Path) -> None:
    """Do the job of a folder."""
    job = from_json(Job, read_json(folder / JOB), JOB)
    runtime, refusal = _load(job.bundle)
    for index in range(job.batches):
        with np.load(batch_path(folder, index), allow_pickle=False) as stored:
            arrays = dict(stored)
            hidden = bool(arrays.pop("hidden"))
        outputs = runtime.predict(Batch.of(arrays, hidden=hidden))
        np.savez(outputs_path(folder, index), allow_pickle=False, **outputs.arrays())
    answer = Answer(
        machine=platform.machine(),
        cpu=this_cpu().model,
        target=resolve_target("auto").name,
        onnxruntime=version(),
        refusal=refusal,
        verification=verify(runtime),
    )
    write_json(folder / ANSWER, to_json(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
