"""Answer the rows of a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertedge.engines import AUTO
from bertedge.errors import UsageError
from bertedge.heads import head_of_verb
from bertedge.jobs.job_input import JobInput
from bertedge.jobs.job_output import StreamOutput, opened_output
from bertedge.jobs.job_run import JobResult, JobRun
from bertedge.jobs.job_task import Task
from bertedge.jobs.output_table import format_of
from bertedge.progress import Listener, no_progress
from bertedge.runtime import BertRuntime, load

#: The name of a stream: standard input, or standard output.
STREAM = "-"


def run(
    bundle: str | Path | BertRuntime,
    verb: str,
    input: str | Path,
    output: str | Path = STREAM,
    *,
    columns: str | Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    prefix: str = "",
    resume: bool = False,
    force: bool = False,
    strict: bool = False,
    listener: Listener = no_progress,
    engine: str = AUTO,
    threads: int | None = None,
) -> JobResult:
    """Answer every row of a file with a bundle, and write rows and answers to another file.

    Memory does not grow with the file: rows are read, answered and written in blocks. The output appears when it is
    complete. Until then, rows are in ``OUTPUT.partial``, and ``OUTPUT.job.json`` notes which of them are safe on the
    disk, so that a job that was interrupted, even by a power cut, goes on with ``resume=True``.

    Args:
        bundle: its folder, or a loaded bundle.
        verb: a command that uses a bundle, such as ``embed`` or ``classify``.
        input: ``.txt`` (a text in each line), ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, all of them also compressed;
            ``.parquet``; ``-`` for the standard input: JSON objects or texts, a line each.
        output: ``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``, for vectors ``.npy``; ``-`` for JSON Lines on the
            standard output.
        columns: the column of the texts, or those of the first and second texts. Default: usual names.
        options: options of the command by their names in Python; a text such as ``question`` is that of all rows.
        prefix: what the names of the new columns begin with.
        resume: go on where an earlier run of the same job ended; without such a run, begin.
        force: replace the output, and drop what an unfinished run has left.
        strict: stop at the first bad row. Otherwise it goes to ``OUTPUT.errors.jsonl``.
        listener: is told the share that is done, and how many rows.
        engine, threads: as for :func:`bertedge.load`.

    Raises:
        UsageError: the command, an option, a column or a format is not known, or does not fit the others; with
            ``strict``, a row cannot be answered.
        CorpusError: the input cannot be read, or was changed meanwhile; with ``strict``, also a row of it.
        FileError: the output cannot be written, is there already, or is that of another job.
        CheckpointError: the bundle has no head for the command.
        MissingExtraError: Parquet needs pyarrow.
    """
    asked = head_of_verb(verb).verb
    read = JobInput.of(Path(input))
    written = _output_path(output)
    if written is None and resume:
        raise UsageError("only a job with an output file can go on", "name a file, or leave --resume out")
    if written is not None and os.path.realpath(read.source) == os.path.realpath(written):
        raise UsageError(f"{written}: is both input and output", "give the output another name")
    form = format_of(written)
    runtime = bundle if isinstance(bundle, BertRuntime) else load(bundle, engine=engine, threads=threads)
    task = Task(asked, runtime, dict(options or {}), [columns] if isinstance(columns, str) else columns, prefix)
    job = task.job(read)
    with _stream(output) if written is None else opened_output(written, job, resume=resume, force=force) as out:
        return JobRun(task, read, out, job, form, strict=strict, listener=listener).result()


@contextmanager
def _stream(output: str | Path) -> Iterator[StreamOutput]:
    """The standard output, a pipe or a device."""
    if str(output) == STREAM:
        yield StreamOutput(sys.stdout)
        return
    with open(output, "w", encoding="utf-8") as stream:
        yield StreamOutput(stream)


def _output_path(output: str | Path) -> Path | None:
    """The file to write; None for a stream."""
    path = Path(output)
    if str(path) == STREAM or (path.exists() and not path.is_file() and not path.is_dir()):
        return None
    return Path(os.path.realpath(path)) if path.is_symlink() else path  # replace the target of a link, not the link
