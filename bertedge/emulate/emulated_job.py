"""The program that an emulated machine runs; :mod:`bertedge.emulate.emulated_machine` starts it on one bundle.

The machines share a folder: ``job.json`` and ``batch.<i>.npz`` are the input, ``answer.json`` and ``outputs.<i>.npz``
the output.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.cpu import this_cpu
from bertedge.engines import engine_named
from bertedge.engines.onnxruntime.versions import version
from bertedge.errors import UnfitMachineError, UsageError
from bertedge.predictor import Batch, Outputs
from bertedge.records import from_json, read_json, to_json, write_json
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.golden import Verification, verify
from bertedge.target import resolve_target

JOB, ANSWER, BATCH, OUTPUTS = "job.json", "answer.json", "batch.{}.npz", "outputs.{}.npz"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The job: a bundle whose golden vectors are replayed on an engine, and the number of batches to run."""

    bundle: str
    engine: str
    batches: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The results of the emulated machine.

    Attributes:
        machine: ``aarch64`` or ``x86_64``, as the operating system says.
        cpu: the CPU's own name.
        target: the best target that the CPU satisfies.
        onnxruntime: its version.
        runs: what the engine runs there; a part of a sentence.
        refusal: why the loader refused the bundle; None if it did not. The bundle was run in both cases, if that is
            possible at all.
        batches: batches that were run.
        verification: None if the engine cannot run the bundle.
    """

    machine: str
    cpu: str
    target: str
    onnxruntime: str
    runs: str
    refusal: str | None
    batches: int
    verification: Verification | None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Store arrays by name."""
    np.savez(path, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays that :func:`write_arrays` stored."""
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def write_job(folder: Path, bundle: Path, batches: tuple[Batch, ...], engine: str) -> None:
    """Store the input of a job."""
    write_json(folder / JOB, Job(bundle=str(bundle.resolve()), engine=engine, batches=len(batches)))
    for index, batch in enumerate(batches):
        write_arrays(folder / BATCH.format(index), {**batch.arrays(), "hidden": np.array(batch.hidden)})


def read_answer(folder: Path) -> tuple[Answer, tuple[Outputs, ...]]:
    """The output of a job."""
    answer = from_json(Answer, read_json(folder / ANSWER), ANSWER)
    return answer, tuple(Outputs.of(read_arrays(folder / OUTPUTS.format(index))) for index in range(answer.batches))


def main(folder: Path) -> None:
    """Run the job of a folder."""
    job = from_json(Job, read_json(folder / JOB), JOB)
    runtime, refusal = _load(job.bundle, job.engine)
    for index in range(job.batches if runtime else 0):
        assert runtime is not None
        arrays = read_arrays(folder / BATCH.format(index))
        hidden = bool(arrays.pop("hidden"))
        outputs = runtime.predict(Batch.of(arrays, hidden=hidden))
        write_arrays(folder / OUTPUTS.format(index), outputs.arrays())
    answer = Answer(
        machine=platform.machine(),
        cpu=this_cpu().model,
        target=resolve_target("auto").name,
        onnxruntime=version(),
        runs=engine_named(job.engine).describe(),
        refusal=refusal,
        batches=job.batches if runtime else 0,
        verification=verify(runtime) if runtime else None,
    )
    write_json(folder / ANSWER, to_json(answer))


def _load(folder: str, engine: str) -> tuple[BertRuntime | None, str | None]:
    """Load a bundle on any CPU, if possible; with the reason why the loader refused it at first, or None."""
    try:
        return load(folder, engine=engine, threads=1), None
    except (UnfitMachineError, UsageError) as error:
        refusal = error.message
    try:
        return load(folder, engine=engine, threads=1, allow_any_cpu=True), refusal
    except (UnfitMachineError, UsageError):
        return None, refusal


if __name__ == "__main__":
    main(Path(sys.argv[1]))
