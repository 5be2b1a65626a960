"""What a job asks of each row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from bertedge.errors import UsageError
from bertedge.files import sha256
from bertedge.heads.verb import Verb
from bertedge.jobs.job_input import JobInput
from bertedge.jobs.output_formats import OutputColumns
from bertedge.jobs.row_options import row_options
from bertedge.manifest import MANIFEST
from bertedge.runtime import BertRuntime


class Task:
    """What is asked of each row.

    Attributes:
        shared: ``text`` or ``pair`` -> the text of all rows.
        none: the answers to no rows.
    """

    def __init__(
        self, verb: Verb, runtime: BertRuntime, options: dict[str, Any], columns: Sequence[str], prefix: str
    ) -> None:
        self.verb, self.runtime, self.options = verb, runtime, options
        self.columns, self.prefix = columns, prefix
        plain, self.shared = row_options(verb, options)
        self.answers = partial(verb.rows.answers, runtime, **plain)
        self.none = self.answers([])  # finds options that the model cannot use
        self.names = tuple(f"{prefix}{name}" for name in verb.rows.names)

    def job(self, read: JobInput) -> dict[str, Any]:
        """What tells this job apart from others; see :data:`bertedge.jobs.journal.PARTS`."""
        return {
            "input": read.fingerprint,
            "bundle": sha256(self.runtime.bundle.folder / MANIFEST),
            "engine": self.runtime.engine.name,
            "command": self.verb.name,
            "options": {name: value for name, value in self.options.items() if value is not None},
            "columns": list(self.columns),
            "prefix": self.prefix,
        }

    def output_columns(self, carried: Sequence[str]) -> OutputColumns:
        """Raises UsageError if the input has a column of an answer's name."""
        for name in self.names:
            if name in carried:
                raise UsageError(
                    f"the input has a column {name!r} already", "give the new columns other names: --prefix bertedge_"
                )
        return OutputColumns(carried=tuple(carried), names=self.names, rows=self.verb.rows, none=self.none)
