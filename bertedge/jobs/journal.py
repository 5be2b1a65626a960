"""The journal of a job: what it does, and how far its output is complete. It lies next to the output."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertedge.bounds import Bytes, Count, Seconds
from bertedge.errors import BertEdgeError, FileError
from bertedge.files import write_bytes
from bertedge.jobs.json_text import standard_json
from bertedge.jobs.row_tables import Position
from bertedge.jobs.row_texts import TextColumns
from bertedge.records import from_json, read_json, to_json

AGAIN = "start again with --force"
#: Key of a job -> how messages call it.
PARTS = {
    "input": "the input",
    "bundle": "the bundle",
    "engine": "the engine",
    "command": "the command",
    "options": "an option",
    "columns": "--column",
    "prefix": "--prefix",
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What of a job is done.

    Attributes:
        position: where the input goes on.
        rows: of the input; ``bad`` of them have no answer.
        cut: texts that were longer than the model reads.
        unknown: texts without a word that the model knows.
        seconds: the time for it.
        output_bytes, errors_bytes: of the two files, up to the end of the last row.
    """

    position: Position = field(default_factory=Position)
    rows: Count = 0
    bad: Count = 0
    cut: Count = 0
    unknown: Count = 0
    seconds: Seconds = 0.0
    output_bytes: Bytes = 0
    errors_bytes: Bytes = 0


@dataclass(frozen=True, kw_only=True)
class Journal:
    """A job and its progress.

    Attributes:
        state: ``running``; ``complete`` when all rows are written; ``done`` when the output has its name.
        job: input, bundle and settings, by the names in :data:`PARTS`.
        carried: the columns of the input that the output has.
    """

    state: Literal["running", "complete", "done"]
    job: dict[str, Any]
    columns: TextColumns
    carried: tuple[str, ...]
    progress: Progress = field(default_factory=Progress)

    def write(self, path: Path) -> None:
        """Write it completely or not at all."""
        write_bytes(path, standard_json(to_json(self)) + b"\n")


def read_journal(path: Path) -> Journal | None:
    """Read a journal; None if there is none.

    Raises:
        FileError: it is broken.
    """
    if not path.exists():
        return None
    try:
        return from_json(Journal, read_json(path))
    except BertEdgeError as error:
        raise FileError(f"{path}: is not the journal of a job ({error.message})", AGAIN) from error


def require_same_job(path: Path, earlier: Journal, job: dict[str, Any]) -> None:
    """Refuse to go on with another job.

    Raises:
        FileError: something differs; the message says what.
    """
    for name, what in PARTS.items():
        old, new = earlier.job.get(name), job.get(name)
        if old != new:
            shown = "" if isinstance(old, dict) else f" (it was {str(old)[:60]!r})"
            raise FileError(
                f"{path}: {what} changed since the job began{shown}",
                f"give what the job had, or {AGAIN}",
            )
