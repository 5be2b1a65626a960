"""Options of the gate, and the files that CI reads, for ``bench`` and ``compare``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertedge.cli.added_options import Command, added
from bertedge.cli.console import note
from bertedge.cli.options import library, require_different_files
from bertedge.errors import UsageError

if TYPE_CHECKING:
    from bertedge.report.budget import Budgets
    from bertedge.report.schema import Report
    from bertedge.report.verdict import Verdict

#: Environment variable with the file whose Markdown GitHub Actions shows on the page of a run.
SUMMARY = "GITHUB_STEP_SUMMARY"

MarkdownOption = Annotated[
    Path | None, typer.Option("--markdown", help="Write the tables as Markdown.", show_default=False)
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Write a page with charts, in one file.", show_default=False)
]
#: Options of the commands that judge -> arguments of :class:`Gate`.
JUDGING: dict[str, Any] = {
    "budgets_file": Annotated[
        Path | None,
        typer.Option(
            "--budgets", help="TOML file: how much worse each metric may get; changes the defaults.", show_default=False
        ),
    ],
    "strict": Annotated[bool, typer.Option("--strict", help="Inconclusive and skipped verdicts also fail.")],
    "update": Annotated[bool, typer.Option("--update-baseline", help="Accept the report as the new baseline.")],
    "reason": Annotated[
        str | None,
        typer.Option("--reason", help="Why the baseline changes; written into its file.", show_default=False),
    ],
    "markdown": MarkdownOption,
    "html": HtmlOption,
    "junit": Annotated[
        Path | None, typer.Option("--junit", help="Write the verdicts as JUnit XML.", show_default=False)
    ],
}


def judging_options(command: Command) -> Command:
    """Add the options of judging to a command that takes ``judging``: arguments for :class:`Gate`."""
    return added(JUDGING, "judging", lambda given: {k: v for k, v in given.items() if v is not None})(command)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The options of the gate. They are checked before the command starts long work.

    Attributes:
        inputs: option or argument -> file, for the other files that the command reads.
    """

    inputs: Mapping[str, Path | None]
    baseline_file: Path | None
    budgets_file: Path | None = None
    json: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    junit: Path | None = None
    strict: bool = False
    update: bool = False
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.update and self.baseline_file is None:
            raise UsageError("--update-baseline needs --baseline", "name the file with --baseline FILE")
        if self.update and not (self.reason or "").strip():
            raise UsageError("--update-baseline: a new baseline needs a reason", 'add --reason "..."')
        if self.reason is not None and not self.update:
            raise UsageError("--reason needs --update-baseline", "add --update-baseline, or leave it out")
        inputs = {**self.inputs, "--budgets": self.budgets_file, "--baseline": self.baseline_file}
        summary = os.environ.get(SUMMARY)  # written without an option
        require_different_files(
            {name: path for name, path in inputs.items() if name not in self.outputs},
            {**self.outputs, f"${SUMMARY}": Path(summary) if summary else None},
        )

    @property
    def outputs(self) -> dict[str, Path | None]:
        """Option -> the file to write."""
        files = {"--json": self.json, "--markdown": self.markdown, "--html": self.html, "--junit": self.junit}
        return files | ({"--baseline": self.baseline_file} if self.update else {})

    def budgets(self) -> Budgets:
        """The budgets of the file, or the defaults."""
        from bertedge.report.budget import DEFAULTS
        from bertedge.report.budget_file import read_budgets

        return read_budgets(self.budgets_file) if self.budgets_file else dict(DEFAULTS)

    def judgeable(self, report: Report, baseline: Report | None) -> Report | None:
        """The baseline, or None if it cannot be compared and will be replaced.

        Raises:
            UsageError: it cannot be compared and will not be replaced.
        """
        from bertedge.report.comparable import require_judgeable

        if baseline is None:
            return None
        try:
            require_judgeable(report, baseline, self.budgets())
        except UsageError:
            if not self.update:
                raise
            return None
        return baseline

    def baseline(self) -> Report | None:
        """The baseline; None if this run will write the first one."""
        from bertedge.report.baseline import read_baseline

        if self.baseline_file is None or (self.update and not self.baseline_file.exists()):
            return None
        return read_baseline(self.baseline_file)

    def require_writable(self) -> None:
        """See :func:`bertedge.files.require_writable`."""
        from bertedge.files import require_writable

        html_writer(self.html)
        for path in filter(None, self.outputs.values()):
            require_writable(path)

    def write(self, report: Report, verdicts: Sequence[Verdict]) -> None:
        """Write the files that the options name, and the summary of a GitHub job.

        Raises:
            FileError: a file cannot be written; all other files are written.
        """
        from bertedge.files import write_text
        from bertedge.report.junit import junit_report
        from bertedge.report.render import markdown_report
        from bertedge.report.schema import write_report

        writers: list[tuple[str, Path | None, Callable[[Path], None]]] = [
            ("report", self.json, lambda path: write_report(path, report)),
            ("tables", self.markdown, lambda path: write_text(path, markdown_report(report, verdicts))),
            ("page", self.html, lambda path: write_text(path, html_writer(path)(report, verdicts))),
            (
                "verdicts",
                self.junit,
                lambda path: write_text(path, junit_report(report, verdicts, strict=self.strict)),
            ),
        ]
        failed: list[Exception] = []
        for what, path, write in writers:
            if path is None:
                continue
            try:
                write(path)
                note(f"{what}: {path}" + ("" if report.complete else " (incomplete)"))
            except Exception as error:
                failed.append(error)
        append_summary(lambda: markdown_report(report, verdicts))
        if failed:
            raise failed[0]

    def conclude(self, report: Report, verdicts: Sequence[Verdict], show: Callable[[], None]) -> None:
        """Write the files, update the baseline if asked to, show the report, and exit according to the verdicts.

        Files are written even if the tables cannot be printed, and tables are printed even if a file cannot be written.

        Raises:
            FileError: a file cannot be written.
            Exit: with 1, if a verdict fails.
        """
        from bertedge.evaluate.metrics import METRICS
        from bertedge.report.verdict import counted, is_regression

        try:
            self.write(report, verdicts)
            self._accept(report)
        finally:
            show()
        if verdicts:
            note(f"verdicts: {counted(verdicts)}")
        for sentence, subjects in unjudged(verdicts).items():
            note(f"not judged: {', '.join(subjects)}: {sentence}")
        if wide := sorted({verdict.metric for verdict in verdicts if verdict.undecided and verdict.metric in METRICS}):
            source = "--corpus" if report.corpus.columns is None else "--data"
            note(f"undecided: {', '.join(wide)}: give bench more text with {source} and --examples")
        if not self.update and is_regression(verdicts, strict=self.strict):
            raise typer.Exit(1)

    def _accept(self, report: Report) -> None:
        from bertedge.report.baseline import update_baseline

        if self.update and self.baseline_file and self.reason:
            update_baseline(self.baseline_file, report, self.reason, self.budgets())
            note(f"baseline: {self.baseline_file}")


def html_writer(path: Path | None) -> Callable[..., str]:
    """The function that makes a report's page.

    Raises:
        MissingExtraError: ``path`` is given and the packages for charts are not installed.
    """
    return library("bertedge.report.html", "tools").html_report if path else lambda *_: ""


def append_summary(markdown: Callable[[], str]) -> None:
    """Add to the page of a GitHub Actions run. If that fails, print a warning."""
    summary = os.environ.get(SUMMARY)
    if not summary:
        return
    try:
        with open(summary, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown() + "\n")
    except OSError as error:
        note(f"warning: the job summary cannot be written: {summary}: {error.strerror}")


def unjudged(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    """Reason -> the metrics that were not judged."""
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.outcome == "skipped":
            reasons.setdefault(verdict.sentence, []).append(f"{verdict.candidate} {verdict.subject}")
    return reasons
