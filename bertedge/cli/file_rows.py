"""``--input``: a command that uses a bundle answers the rows of a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from bertedge.cli.console import note, progress_bar
from bertedge.cli.stopping import when_stopped
from bertedge.errors import BertEdgeError, UsageError
from bertedge.heads.verb import Verb

if TYPE_CHECKING:
    from bertedge.jobs import JobResult

PANEL = "Rows of a file"


def _option(*names: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, show_default=False, rich_help_panel=PANEL)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """The options of files, by their names in Python."""

    input: Annotated[
        Path | None,
        _option("--input", help="Answer each row of a .txt, .csv, .jsonl or .parquet file, or of -.", metavar="FILE"),
    ] = None
    output: Annotated[
        Path | None,
        _option("--output", "-o", help="A .jsonl, .csv, .parquet or .npy file to write; else stdout.", metavar="FILE"),
    ] = None
    column: Annotated[
        list[str] | None,
        _option("--column", help="The column of the texts, twice for pairs; else usual names.", metavar="NAME"),
    ] = None
    prefix: Annotated[str, _option("--prefix", help="What the names of the new columns begin with.")] = ""
    resume: Annotated[bool, _option("--resume", help="Go on where the same job was interrupted.")] = False
    force: Annotated[bool, _option("--force", help="Replace the output, and drop an unfinished one.")] = False
    strict: Annotated[bool, _option("--strict", help="Stop at the first row that cannot be answered.")] = False

    @classmethod
    def annotations(cls) -> dict[str, Any]:
        """Name -> the type, as typer reads it."""
        return get_type_hints(cls, include_extras=True)

    def require_use(self, verb: Verb, texts: list[str], *, as_json: bool) -> None:
        """Refuse options that have no effect.

        Args:
            texts: the arguments that were given.

        Raises:
            UsageError: options of files without a file, or texts next to one.
        """
        if self.input is None:
            given = [one.name for one in fields(self) if getattr(self, one.name)]
            if given:
                raise UsageError(f"--{given[0]}: has no effect without --input", "add --input FILE")
            return
        if texts:
            raise UsageError(f"'{texts[0].upper()}' and --input are given", "give texts, or a file of texts")
        if as_json:
            raise UsageError("--json: has no effect with --input", "name the format by the output: -o FILE.jsonl")
        if self.resume and self.force:
            raise UsageError("--resume and --force exclude each other", "leave out one of them")


def answer_file(verb: Verb, load: Callable[[], Any], files: FileOptions, given: dict[str, Any]) -> None:
    """Answer the rows of a file, and say on stderr how it went.

    Args:
        given: the options of the verb by their names.

    Raises:
        BertEdgeError: see :func:`bertedge.jobs.run`.
    """
    from bertedge.jobs import run

    assert files.input is not None
    options = {}
    for option in verb.options:
        value = given[option.name]
        if option.of_rows:
            options[option.name] = value
        elif value is not None and value != option.default:
            raise UsageError(f"--{option.name}: has no effect on the rows of a file", "leave it out")
    output = files.output if files.output is not None else Path("-")
    if str(output) == "-" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # JSON is UTF-8
    with when_stopped(partial(_note_kept, output)), progress_bar(verb.name) as listener:
        result = run(
            load(),
            verb.name,
            files.input,
            output,
            columns=files.column or (),
            options=options,
            prefix=files.prefix,
            resume=files.resume,
            force=files.force,
            strict=files.strict,
            listener=listener,
        )
    for line in _summary(result):
        note(line)


def _note_kept(output: Path) -> None:
    """Say how many rows are kept."""
    from bertedge.jobs.job_output import RESUME, journal_path
    from bertedge.jobs.journal import read_journal

    try:
        journal = read_journal(journal_path(output))
    except BertEdgeError:
        return
    if journal is not None and journal.state != "done":
        note(f"hint: {_counted(journal.progress.rows, 'row')} kept; {RESUME}")


def _summary(result: JobResult) -> list[str]:
    """What a job did, in lines."""
    where = f"{result.output}: " if result.output else ""
    if result.was_done:
        return [f"{where}is complete already: {_counted(result.rows, 'row')}"]
    read = f" ({result.columns})" if result.columns else ""
    lines = [f"{where}{_counted(result.rows, 'row')}{read} in {result.seconds:,.1f} s, {result.rows_per_s:,.0f} rows/s"]
    if result.bad_rows:
        lines += [f"line {row.line}: {row.reason}" for row in result.first_bad] if result.output is None else []
        lines += [f"{_counted(result.bad_rows, 'bad row')}{f': {result.errors}' if result.errors else ''}"]
    if result.cut:
        lines += [f"cut, because the model reads no more: the ends of {_counted(result.cut, 'text')}"]
    if result.unknown:
        lines += [f"meaningless, because the model knows no word: the answers to {_counted(result.unknown, 'text')}"]
    return lines


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
