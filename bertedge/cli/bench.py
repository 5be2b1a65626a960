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
from bertedge.cli.judging import (
    BudgetsOption,
    Gate,
    HtmlOption,
    JunitOption,
    MarkdownOption,
    ReasonOption,
    StrictOption,
    UpdateOption,
)
from bertedge.cli.options import CasedOption, ThreadsOption, library
from bertedge.engines import AUTO, ENGINES
from bertedge.errors import UsageError

#: Seconds that latencies may take over all workloads, and those that a verdict on them may.
MEASURING_S, JUDGING_S = 45.0, 120.0
ROUNDS, MAX_ROUNDS = 24, 400


def bench(
    candidates: Annotated[list[Path], typer.Argument(help="Bundles to measure.", show_default=False)],
    reference: Annotated[
        str,
        typer.Option("--reference", "-r", help="The float model: a checkpoint or a float bundle.", show_default=False),
    ],
    corpus: Annotated[
        Path | None, typer.Option(help="Text to compare on; default: the built-in text.", show_default=False)
    ] = None,
    cased: CasedOption = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Sentence pairs, or single texts, to compare on; fewer if the text has fewer.")
    ] = 256,
    rounds: Annotated[
        int | None,
        typer.Option(min=2, help="Timed rounds of each workload, at least.", show_default=f"{ROUNDS}, or --max-rounds"),
    ] = None,
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
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What computes the candidates: {', '.join(ENGINES)}; may be repeated, to compare engines.",
            metavar="ENGINE",
            show_default=AUTO,
        ),
    ] = None,
    threads: ThreadsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the texts and masks.")] = 0,
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
    from bertedge.report.gate import interrupted, judge
    from bertedge.report.render import rich_report

    gate = Gate(
        inputs={"--corpus": corpus},
        budgets_file=budgets,
        json=json_file,
        markdown=markdown_file,
        html=html_file,
        junit=junit_file,
        strict=strict,
        baseline_file=baseline,
        update=update_baseline,
        reason=reason,
    )
    if baseline is None and against is None:
        for option, given in (("--strict", strict), ("--budgets", budgets), ("--junit", junit_file)):
            if given:
                raise UsageError(f"{option}: there is nothing to judge by", "give --baseline FILE or --against BUNDLE")
    chosen: dict[str, Any] = {"grid": parse_grid(lengths)} if lengths is not None else {}
    if engine:
        chosen["engines"] = tuple(dict.fromkeys(engine))
    enough = JUDGING_S if baseline or against else MEASURING_S
    effort = Effort(
        rounds=rounds or min(ROUNDS, max_rounds or ROUNDS),
        max_rounds=max_rounds or max(MAX_ROUNDS, rounds or 0),
        seconds=enough if seconds is None else seconds,
    )
    settings = benchmark.BenchSettings(examples=examples, effort=effort, threads=threads, seed=seed, **chosen)
    limits, earlier = gate.budgets(), gate.baseline()
    standard = benchmark.Standard(baseline=None if update_baseline else earlier, against=against, budgets=limits)
    gate.require_writable()

    def keep(report: Any) -> None:
        """What an interrupted run leaves."""
        gate.write(replace(report, run=this_run()), interrupted(report))

    with progress_bar("measuring") as listen:
        report = benchmark.bench(
            candidates,
            reference=reference,
            corpus=corpus,
            cased=cased,
            settings=settings,
            standard=standard,
            listen=listen,
            keep=keep,
        )
    if report.corpus.examples < examples != benchmark.BenchSettings.examples:
        found = f"{report.corpus.name}: has {report.corpus.examples} texts to compare on"
        note(f"{found}, fewer than the {examples} asked for")
    report = replace(report, run=this_run())
    try:
        earlier = gate.judgeable(report, earlier)
        verdicts = judge(report, earlier, limits) if earlier or against else ()
    except Exception:  # what took minutes to measure is kept, whatever is the matter with what it is held against
        gate.write(report, ())
        raise
    gate.conclude(report, verdicts, lambda: stdout.print(rich_report(report, verdicts, width=stdout.width)))


def this_run() -> Any:
    """The command that is running, as it would be typed, and the time."""
    from bertedge.report.schema import Run

    return Run(command=shlex.join(["bertedge", *sys.argv[1:]]), ended=datetime.now(UTC).isoformat(timespec="seconds"))


def parse_grid(text: str) -> tuple:
    """``1x16,8x64`` -> workloads, each once.

    Raises:
        UsageError: it is not of that form.
    """
    from bertedge.evaluate.latency import Workload

    try:
        sizes = [tuple(int(number) for number in part.split("x")) for part in text.split(",")]
        grid = tuple(Workload(batch_size=batch_size, seq_len=seq_len) for batch_size, seq_len in dict.fromkeys(sizes))
    except ValueError as error:
        raise UsageError(
            f"--lengths {text!r} is not a list of BATCHxTOKENS", "for instance --lengths 1x16,1x128,8x64"
        ) from error
    if any(workload.batch_size < 1 or workload.seq_len < 3 for workload in grid):
        raise UsageError(f"--lengths {text!r}: at least 1 text of 3 tokens", "for instance --lengths 1x16,1x128,8x64")
    return grid
