"""``bertedge bench``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.console import note, progress_bar, stdout
from bertedge.cli.gate import (
    BudgetsOption,
    Gate,
    HtmlOption,
    JunitOption,
    MarkdownOption,
    ReasonOption,
    StrictOption,
    UpdateOption,
    comparable,
)
from bertedge.cli.options import ThreadsOption, library
from bertedge.errors import UsageError

#: Seconds that latencies may take over all workloads, and those that a verdict on them may.
MEASURING_S, JUDGING_S = 45.0, 120.0
MAX_ROUNDS = 400


def bench(
    candidates: Annotated[list[Path], typer.Argument(help="Bundles to measure.", show_default=False)],
    reference: Annotated[
        str,
        typer.Option("--reference", "-r", help="The float model: a checkpoint or a float bundle.", show_default=False),
    ],
    corpus: Annotated[
        Path | None, typer.Option(help="Text to compare on; default: the one that ships.", show_default=False)
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Sentence pairs to compare on.")] = 256,
    rounds: Annotated[int, typer.Option(min=2, help="Timed rounds of each workload, at least.")] = 24,
    max_rounds: Annotated[
        int | None,
        typer.Option(min=2, help="Rounds at most, while it is not clear enough.", show_default=str(MAX_ROUNDS)),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="No rounds are added that would end later than this.",
            show_default=f"{MEASURING_S:g}; {JUDGING_S:g} for a verdict",
        ),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(help="Workloads as BATCHxTOKENS, separated by commas.", show_default="1x16,1x64,1x128,8x64"),
    ] = None,
    threads: ThreadsOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the texts and masks.")] = 0,
    baseline: Annotated[Path | None, typer.Option(help="An earlier report to judge by.", show_default=False)] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="An earlier bundle to judge by, measured in the same rounds.", show_default=False),
    ] = None,
    budgets: BudgetsOption = None,
    strict: StrictOption = False,
    update_baseline: UpdateOption = False,
    reason: ReasonOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON.", show_default=False)
    ] = None,
    markdown_file: MarkdownOption = None,
    html_file: HtmlOption = None,
    junit_file: JunitOption = None,
) -> None:
    """Measure size, start, latency and fidelity of bundles against their float model, and judge them by a baseline."""
    benchmark = library("bertedge.benchmark", "tools")
    from bertedge.evaluate.study import Effort
    from bertedge.records import require_writable
    from bertedge.report.gate import interrupted, judge
    from bertedge.report.render import rich_report
    from bertedge.report.report import write_report

    gate = Gate(
        budgets_file=budgets,
        markdown=markdown_file,
        html=html_file,
        junit=junit_file,
        strict=strict,
        baseline_file=baseline,
        update=update_baseline,
        reason=reason,
    )
    if baseline is None and against is None:
        for option, given in (("--strict", strict), ("--budgets", budgets)):
            if given:
                raise UsageError(f"{option}: there is nothing to judge by", "give --baseline FILE or --against BUNDLE")
    grid = {"grid": parse_grid(lengths)} if lengths is not None else {}
    enough = JUDGING_S if baseline or against else MEASURING_S
    most = max(rounds, MAX_ROUNDS) if max_rounds is None else max_rounds
    effort = Effort(rounds=rounds, max_rounds=most, seconds=enough if seconds is None else seconds)
    settings = benchmark.BenchSettings(examples=examples, effort=effort, threads=threads, seed=seed, **grid)
    limits, earlier = gate.budgets(), gate.baseline()
    standard = benchmark.Standard(baseline=None if update_baseline else earlier, against=against, budgets=limits)
    gate.require_writable()
    if json_file:
        require_writable(json_file)

    def keep(report: Any) -> None:
        """What an interrupted run leaves."""
        report = replace(report, run=this_run())
        if json_file:
            write_report(json_file, report)
            note(f"report: {json_file} (incomplete)")
        gate.write(report, interrupted(report))

    with progress_bar("measuring") as listen:
        report = benchmark.bench(
            candidates,
            reference=reference,
            corpus=corpus,
            settings=settings,
            standard=standard,
            listen=listen,
            keep=keep,
        )
    report = replace(report, run=this_run())
    earlier = comparable(report, earlier, updating=update_baseline)
    verdicts = judge(report, earlier, limits) if earlier or against else ()
    stdout.print(rich_report(report, verdicts, width=stdout.width))
    if json_file:
        write_report(json_file, report)
        note(f"report: {json_file}")
    gate.write(report, verdicts)
    gate.end(report, verdicts)


def this_run() -> Any:
    """The command that is running, as it would be typed, and the time."""
    from bertedge.report.report import Run

    return Run(command=shlex.join(["bertedge", *sys.argv[1:]]), ended=datetime.now(UTC).isoformat(timespec="seconds"))


def parse_grid(text: str) -> tuple:
    """``1x16,8x64`` -> workloads.

    Raises:
        UsageError: it is not of that form.
    """
    from bertedge.evaluate.latency import Workload

    try:
        sizes = [tuple(int(number) for number in part.split("x")) for part in text.split(",")]
        grid = tuple(Workload(batch_size=batch_size, seq_len=seq_len) for batch_size, seq_len in sizes)
    except ValueError as error:
        raise UsageError(
            f"--lengths {text!r} is not a list of BATCHxTOKENS", "for instance --lengths 1x16,1x128,8x64"
        ) from error
    if any(workload.batch_size < 1 or workload.seq_len < 3 for workload in grid):
        raise UsageError(f"--lengths {text!r}: at least 1 text of 3 tokens", "for instance --lengths 1x16,1x128,8x64")
    return grid
