"""The folder of a run in progress: the state to resume from, and the log.

``OUTPUT.run`` is next to the checkpoint, and is removed when the run is finished::

    run.json        the description of the run; a resumed run must have the same
    metrics.jsonl   a line for every few steps and for every evaluation, written during the run
    state/          weights, optimizer and place in the corpus; replaced as a whole
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bertedge.archives import open_archive
from bertedge.data.stream import Place
from bertedge.errors import FileError, UsageError
from bertedge.files import alone_in, check_replaceable, new_folder, write_text
from bertedge.records import from_json, read_json, to_json, write_json
from bertedge.scratch import discard, settle, settle_inside
from bertedge.train.loop import Progress

RUN, METRICS, STATE = "run.json", "metrics.jsonl", "state"
PLACE, TENSORS = "place.json", "state.pt"
BROKEN = "the saved state is damaged; start again with --force"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A saved state.

    Attributes:
        place: the position in the corpus of the pairs of the next step.
        tensors: the state of the trainer.
        best: the best held-out loss so far, and its step.
    """

    place: Place
    tensors: dict[str, Any]
    best: dict[str, float] | None


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """``place.json``."""

    place: Place
    best: dict[str, float] | None


class RunFolder:
    """The folder. Call :meth:`begin` or :meth:`resume` first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def next_to(cls, output: Path) -> RunFolder:
        """The run folder of a checkpoint folder."""
        return cls(output.with_name(f"{output.name}.run"))

    def begin(self, description: Mapping[str, Any], *, force: bool) -> None:
        """Start a new run.

        Raises:
            FileError: the folder has a run already, or cannot be written.
        """
        if not force:
            self.require_none()
        check_replaceable(self.path, force=True, marker=RUN)
        discard(self.path / STATE)
        discard(self.path / METRICS)
        write_json(self.path / RUN, description)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the run against other processes, and remove files that killed processes left.

        Raises:
            FileError: another process is training here.
        """
        with alone_in(self.path, "training"):
            settle(self.path)
            settle_inside(self.path)
            yield

    def require_none(self) -> None:
        """Refuse to overwrite a run that was interrupted.

        Raises:
            FileError: the folder has an interrupted run.
        """
        if (self.path / RUN).is_file():
            raise FileError(
                f"{self.path}: has an interrupted run",
                "continue it with the same command and --resume, or discard it with --force",
            )

    def resume(self, description: Mapping[str, Any], *, first: bool = True) -> Saved | None:
        """The state to resume from; None if the run was interrupted before the first save.

        Args:
            first: whether this is process 0, which removes the lines of steps that will be repeated from the log.

        Raises:
            FileError: there is no run, or its state is broken.
            UsageError: the run has another description; the error names every difference.
        """
        if not (self.path / RUN).is_file():
            raise FileError(f"{self.path}: has no interrupted run", "start one without --resume")
        started = read_json(self.path / RUN)
        if not isinstance(started, dict):
            raise FileError(f"{self.path / RUN}: is not the description of a run", BROKEN)
        wrong = list(_differences(started, to_json(description)))
        if wrong:
            raise UsageError(
                f"{self.path}: was started with other settings: {'; '.join(wrong)}",
                "resume with the command that started it, or start again with --force",
            )
        if not (self.path / STATE).is_dir():
            saved, done = None, 0
        else:
            saved = self._read()
            done = saved.tensors["progress"]["step"]
        if first:
            self._forget_after(done)
        return saved

    def save(self, saved: Saved) -> None:
        """Save the state. It replaces the earlier state."""
        with new_folder(self.path / STATE, force=True, marker=PLACE) as folder:
            try:
                torch.save(saved.tensors, folder / TENSORS)
            except (RuntimeError, OSError) as error:  # torch's zip writer raises RuntimeError on a full disk
                raise FileError(
                    f"{folder}: the state cannot be written ({str(error).splitlines()[0]})",
                    "check the free space on the disk",
                ) from error
            write_json(folder / PLACE, {"place": asdict(saved.place), "best": saved.best})

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to the log."""
        try:
            with open(self.path / METRICS, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise FileError(f"{self.path / METRICS}: {error.strerror}", "check the free space on the disk") from error

    def records(self) -> list[dict[str, Any]]:
        """The log's lines."""
        return read_records(self.path / METRICS)

    def finish(self, output: Path) -> None:
        """Move the log to the finished checkpoint, and remove the folder."""
        lines = "".join(json.dumps(record) + "\n" for record in self.records())
        write_text(output / METRICS, lines)
        discard(self.path)

    def _read(self) -> Saved:
        folder = self.path / STATE
        stored = from_json(_Stored, read_json(folder / PLACE), PLACE)
        if stored.best is not None and not {"step", "loss"} <= stored.best.keys():
            raise FileError(f"{folder / PLACE}: best has no step or no loss", BROKEN)
        if not all(map(math.isfinite, (stored.best or {}).values())):
            raise FileError(f"{folder / PLACE}: best has a value that is not a number", BROKEN)
        with open_archive(folder / TENSORS, hint=BROKEN) as archive:  # checks checksums, which torch does not
            archive.check(most=(folder / TENSORS).stat().st_size)
        try:
            tensors = torch.load(folder / TENSORS, map_location="cpu", weights_only=True)
            Progress(**tensors["progress"])
            return Saved(place=stored.place, tensors=tensors, best=stored.best)
        except Exception as error:  # torch raises pickle, zip and runtime errors
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise FileError(f"{folder}: cannot be read ({reason})", BROKEN) from error

    def _forget_after(self, step: int) -> None:
        """Remove the log's lines of steps that will be repeated."""
        kept = [json.dumps(record) + "\n" for record in self.records() if record["step"] <= step]
        write_text(self.path / METRICS, "".join(kept))


def log_of(output: Path) -> list[dict[str, Any]]:
    """The log of a run, finished or not."""
    running = RunFolder.next_to(output)
    return running.records() if running.path.is_dir() else read_records(output / METRICS)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a log. Damaged and incomplete lines are left out."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and type(record.get("step")) is int:
            records.append(record)
    return records


def _differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """The differences between two JSON values, key by key."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif before != now:
        yield f"{where} was {reprlib.repr(before)}, is {reprlib.repr(now)}"
