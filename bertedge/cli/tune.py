"""``bertedge tune``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.bundle import Bundle
from bertedge.cli.added_options import goal_options
from bertedge.cli.console import note, progress_bar, stdout
from bertedge.cli.options import CasedOption, ForceOption, TargetOption, library
from bertedge.errors import CheckFailed
from bertedge.evaluate.goals import GOALS, Goal, said
from bertedge.evaluate.metrics import METRICS
from bertedge.target import AUTO


@goal_options(GOALS)
def tune(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Checkpoints. Words and pairs are counted as lost against the first; the others may be its students.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The folder of the search; an interrupted search goes on there.", show_default=False
        ),
    ],
    goals: Sequence[Goal] = (),
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Text to measure losses on; default: a quarter of the calibration text, kept back.", show_default=False
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Text to calibrate with; default: the built-in text.", show_default=False)
    ] = None,
    target: TargetOption = AUTO,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Layers that stay float32 in all of them; may be repeated.", show_default=False, metavar="PATTERN"
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Threads to try; may be repeated; default: one, and one a core.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Texts in a timed call.")] = 1,
    length: Annotated[int, typer.Option(help="Tokens of a timed text.")] = 128,
    examples: Annotated[int, typer.Option(help="Sentence pairs that losses are measured on.")] = 256,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Stop searching after so long; default: at the end.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Try everything, also when the goals are met.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of pairs and masks.")] = 0,
    cased: CasedOption = None,
    force: ForceOption = False,
) -> None:
    """Search for the fastest int8 bundle that keeps within goals for loss, latency and size.

    Leaves the best one in OUTPUT/best, all trade-offs in pareto.json and pareto.svg. Goals may change when it goes on.
    """
    tuning = library("bertedge.tuning", "tools")
    settings = tuning.TuneSettings(
        calibration=calibration,
        corpus=corpus,
        target=target,
        exclude=tuple(exclude or ()),
        threads=tuple(threads or ()),
        workload=tuning.Workload(batch_size=batch_size, seq_len=length),
        examples=examples,
        seed=seed,
        budget_minutes=budget_minutes,
        everything=everything,
    )
    tried: list[str] = []

    def tell(line: str) -> None:
        tried.append(line)
        note(line)

    try:
        with progress_bar("tuning") as listen:
            tuned = tuning.tune(
                models, output, goals=goals, settings=settings, cased=cased, force=force, listen=listen, note=tell
            )
    except (KeyboardInterrupt, SystemExit):
        if tried:
            words = [word for word in sys.argv[1:] if word != "--force"]
            note(f"everything measured is saved, the best so far is {output}/best; go on with:")
            note(shlex.join(["bertedge", *words]))
        raise
    _show(tuned, output)


def _show(tuned: Any, output: Path) -> None:
    """The finalists as a table, and what came of the goals.

    Raises:
        CheckFailed: one was not met.
    """
    from bertedge.report.render import value_in_words
    from bertedge.report.terminal import terminal_table, without

    losses = [metric for metric in tuned.objectives if metric in METRICS]
    rows = [["candidate", "p95 ms", "threads", "of float (95 %)", "file", *losses]]
    for entry in (*tuned.points, *tuned.beaten):
        fastest = entry.latency[0]
        ratio, values = fastest.ratio, [entry.fidelity[metric] for metric in losses]
        rows.append(
            [
                f"{entry.name}{' (best)' if entry.name == tuned.best else ''}",
                f"{fastest.p95_ms:.2f}",
                str(fastest.threads),
                f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                f"{entry.size_bytes / 1e6:.1f} MB",
                *map(value_in_words, values),
            ]
        )
    stdout.print(terminal_table("", [rows, without(rows, "threads")], width=stdout.width))
    others = len(tuned.measured) - len(tuned.points) - len(tuned.beaten)
    if others:
        note(f"{others} more were tried and are not shown")
    note(f"all numbers: {output}/pareto.json, picture: {output}/pareto.svg")
    if not tuned.complete:
        note("the time was over before everything was tried: the same command goes on")
    for warning in Bundle.open(output / "best", check=False).manifest.warnings:
        note(f"warning: {warning}")
    note(f"best: {tuned.best}, with --threads {tuned.threads}: {output}/best")
    if tuned.reason:
        note(tuned.reason)
    for option, reached in tuned.goals.items():
        note(said(option, reached))
    missed = [said(option, reached) for option, reached in tuned.goals.items() if not reached.met]
    if missed:
        raise CheckFailed(
            f"no candidate meets all goals for sure; the best: {'; '.join(missed)}",
            "allow more, or give a smaller student as a further MODEL (bertedge distill)",
        )
