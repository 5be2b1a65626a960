"""``bertedge bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertedge.cli.console import note, progress_bar, stdout
from bertedge.cli.options import ThreadsOption, library
from bertedge.errors import UsageError


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
    rounds: Annotated[int, typer.Option(min=2, help="Timed rounds of each workload.")] = 25,
    lengths: Annotated[
        str | None,
        typer.Option(help="Workloads as BATCHxTOKENS, separated by commas.", show_default="1x16,1x64,1x128,8x64"),
    ] = None,
    threads: ThreadsOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the texts and masks.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON.", show_default=False)
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables as Markdown.", show_default=False)
    ] = None,
) -> None:
    """Measure size, start, latency and fidelity of bundles against their float model."""
    benchmark = library("bertedge.benchmark", "tools")
    from bertedge.records import require_writable, write_text
    from bertedge.report.render import markdown_report, rich_report
    from bertedge.report.report import write_report

    grid = {"grid": parse_grid(lengths)} if lengths is not None else {}
    settings = benchmark.BenchSettings(examples=examples, rounds=rounds, threads=threads, seed=seed, **grid)
    for path in filter(None, (json_file, markdown_file)):
        require_writable(path)
    with progress_bar("measuring") as listen:
        report = benchmark.bench(candidates, reference=reference, corpus=corpus, settings=settings, listen=listen)
    stdout.print(rich_report(report, width=stdout.width))
    if json_file:
        write_report(json_file, report)
        note(f"report: {json_file}")
    if markdown_file:
        write_text(markdown_file, markdown_report(report))
        note(f"tables: {markdown_file}")


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
