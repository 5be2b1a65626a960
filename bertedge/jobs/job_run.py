"""One run of a job: blocks of rows are read, answered and written, each in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertedge.errors import BertEdgeError, CorpusError, UsageError
from bertedge.jobs.background import WritingBehind, reading_ahead
from bertedge.jobs.block_answers import AnsweredBlock, answered
from bertedge.jobs.job_input import JobInput
from bertedge.jobs.job_output import FileOutput, StreamOutput
from bertedge.jobs.job_task import Task
from bertedge.jobs.journal import Journal, Progress
from bertedge.jobs.output_formats import OutputColumns, OutputFormat
from bertedge.jobs.row_tables import BadRow, Block, Table
from bertedge.jobs.row_texts import TextColumns, text_columns
from bertedge.progress import Listener

#: Seconds between two moments at which everything so far is made safe on the disk.
COMMIT_S = 1.0
#: Bad rows that a result holds.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job did.

    Attributes:
        rows: of the input, with those of earlier runs of the job; ``bad_rows`` of them have no answer.
        first_bad: the first bad rows of this run.
        cut: texts that were longer than the model reads, and were cut.
        unknown: texts without a word that the model knows.
        seconds: the time that this run took; ``rows_per_s`` is its speed.
        columns: which columns were read, in words.
        output: the file, if it is one; ``errors`` is the file of bad rows, if there are any.
        was_done: the job was complete before.
    """

    rows: int
    bad_rows: int
    first_bad: tuple[BadRow, ...] = ()
    cut: int = 0
    unknown: int = 0
    seconds: float = 0.0
    rows_per_s: float = 0.0
    columns: str = ""
    output: Path | None = None
    errors: Path | None = None
    was_done: bool = False


class JobRun:
    """One run of a job.

    Args:
        job: what tells the job apart from others.
        form: makes the format of the output.
    """

    def __init__(
        self,
        task: Task,
        read: JobInput,
        out: FileOutput | StreamOutput,
        job: dict[str, Any],
        form: Callable[[OutputColumns], OutputFormat],
        *,
        strict: bool,
        listener: Listener,
    ) -> None:
        self._task, self._read, self._out, self._job, self._form = task, read, out, job, form
        self._strict, self._listener = strict, listener
        self._began = self._committed = time.monotonic()
        self._first_bad: list[BadRow] = []
        earlier = out.earlier
        self._before = self._progress = earlier.progress if earlier else Progress()
        self._columns = earlier.columns if earlier else TextColumns()
        self._format = form(task.output_columns(earlier.carried if earlier else ()))

    def result(self) -> JobResult:
        """Do what is left of the job."""
        earlier = self._out.earlier
        was_done = earlier is not None and earlier.state == "done"
        if not was_done:
            self._answer_all()
            self._out.finish(lambda partial, path: self._format.complete(partial, path, self._progress.rows))
        done, seconds = self._progress, time.monotonic() - self._began
        return JobResult(
            rows=done.rows,
            bad_rows=done.bad,
            first_bad=tuple(self._first_bad),
            cut=done.cut,
            unknown=done.unknown,
            seconds=seconds,
            rows_per_s=(done.rows - self._before.rows) / max(seconds, 1e-9),
            columns=str(self._columns),
            output=self._out.path,
            errors=self._out.errors if done.bad else None,
            was_done=was_done,
        )

    def _answer_all(self) -> None:
        with reading_ahead(self._read.blocks(self._before.position), self._read.stopped) as blocks:
            writer = WritingBehind(self._write)
            try:
                for block in self._begun(blocks):
                    writer.put(self._answered(block))
                    self._tell(block)
                writer.finish()
            except BaseException:
                writer.leave()
                with suppress(BertEdgeError):
                    self._out.commit(self._progress)  # what was written is kept
                raise
            self._out.commit(self._progress)

    def _begun(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The blocks, after the output was begun with what the first one shows."""
        first = next(blocks, None)
        if first is not None and first.bad and not first.lines and self._out.earlier is None:
            bad, count = first.bad[0], len(first.bad)
            raise CorpusError(
                f"{self._read.shown}: none of the first {count:,} rows can be read: line {bad.line} {bad.reason}",
                "check the format of the file, and its encoding",
            )
        self._begin(first.table if first is not None else None)
        if first is not None:
            yield first
            yield from blocks

    def _begin(self, table: Table | None) -> None:
        task, earlier = self._task, self._out.earlier
        if earlier is None:
            names = tuple(table.names) if table is not None else ()
            if names:
                self._columns = text_columns(task.verb, self._read.path, names, task.columns, task.shared)
            self._format = self._form(task.output_columns(names))
        carried = self._format.columns.carried
        journal = earlier or Journal(state="running", job=self._job, columns=self._columns, carried=carried)
        self._format.begin(table, self._out.partial if self._before.rows else None)
        self._out.begin(journal, self._format.header())

    def _answered(self, block: Block) -> AnsweredBlock:
        """Raises UsageError or CorpusError at the first bad row of a strict job."""
        block = self._format.fit(block)
        items, reasons = self._columns.items(block.table, self._task.shared) if len(block.table) else ([], {})
        found = answered(block.without(reasons), items, self._task.answers)
        bad = found.block.bad
        if self._strict and bad:
            kind = UsageError if bad[0].readable else CorpusError
            raise kind(
                f"{self._read.shown}: line {bad[0].line}: {bad[0].reason}",
                "correct the row; without --strict bad rows go to a file, and the others are answered",
            )
        self._first_bad += bad[: SHOWN - len(self._first_bad)]
        return found

    def _write(self, answers: AnsweredBlock) -> None:
        """In the writer's thread: write a block, and note that it is written."""
        block, done = answers.block, self._progress
        self._out.append(self._format.encode(answers), block.bad)
        now = time.monotonic()
        self._progress = Progress(
            position=block.position,
            rows=done.rows + block.count,
            bad=done.bad + len(block.bad),
            cut=done.cut + answers.cut,
            unknown=done.unknown + answers.unknown,
            seconds=self._before.seconds + now - self._began,
        )
        if now - self._committed >= COMMIT_S:
            self._out.commit(self._progress)
            self._committed = now

    def _tell(self, block: Block) -> None:
        rows, seconds = self._progress.rows, time.monotonic() - self._began
        rate = (rows - self._before.rows) / max(seconds, 1e-9)
        self._listener(block.share or 0.0, f"{rows:,} rows, {rate:,.0f} rows/s")
