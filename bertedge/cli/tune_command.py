"""``bertedge tune``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.bundle import Bundle
from bertedge.cli.added_options import goal_options, setting_options
from bertedge.cli.console import note, progress_bar, stdout
from bertedge.cli.options import CasedOption, ColumnOption, ForceOption, TargetOption, library, require_column_has_file
from bertedge.cli.quantize_command import CalibrationOption, ExcludeOption
from bertedge.cli.stopping import when_stopped
from bertedge.errors import CheckFailed
from bertedge.evaluate.goals import GOALS, Goal, outcome_sentence
from bertedge.evaluate.metrics import METRICS
from bertedge.keys import keys_of
from bertedge.target import AUTO
from bertedge.tuning.tuning_settings import TuneSettings

ModelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Checkpoints. Accuracy is compared with the first; the others may be its students.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="The folder of the search. An interrupted search resumes there."),
]
RecipesOption = Annotated[
    Path | None,
    typer.Option(
        "--recipes",
        help="TOML file with the recipes to try, a table for each; default: all methods, each setting changed alone, "
        "and the built-in recipes.",
        show_default=False,
    ),
]
CorpusOption = Annotated[
    Path | None,
    typer.Option(
        help="Text to measure losses on; default: a quarter of the calibration text, held out.", show_default=False
    ),
]
ThreadsOption = Annotated[
    list[int] | None,
    typer.Option(help="Threads to try; may be repeated; default: one, and one for each core.", show_default=False),
]
_keys = keys_of(TuneSettings)


@goal_options(GOALS)
@setting_options(
    {
        "Text": [_keys["examples"], _keys["seed"]],
        "Timing": [_keys["batch_size"], _keys["length"]],
        "Search": [_keys["budget_minutes"]],
    }
)
def tune(
    models: ModelsArgument,
    output: OutputOption,
    goals: Sequence[Goal],
    settings: Mapping[str, Any],
    recipes: RecipesOption = None,
    corpus: CorpusOption = None,
    calibration: CalibrationOption = None,
    column: ColumnOption = None,
    target: TargetOption = AUTO,
    exclude: ExcludeOption = None,
    threads: ThreadsOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Try everything, even after the goals are met.")] = False,
    cased: CasedOption = None,
    force: ForceOption = False,
) -> None:
    """Search for the fastest int8 bundle that meets goals for loss, latency and size.

    Writes the best bundle to OUTPUT/best, and all trade-offs to pareto.json and pareto.svg.

    Run the same command again to resume a search. Goals may change.
    """
    require_column_has_file(column, corpus or calibration, "--calibration")
    search = library("bertedge.tuning.search", "tools")
    chosen = TuneSettings(
        calibration=calibration,
        corpus=corpus,
        columns=tuple(column or ()),
        target=target,
        recipes=library("bertedge.tuning.candidates", "tools").read_recipes(recipes) if recipes else None,
        exclude=tuple(exclude or ()),
        threads=tuple(threads or ()),
        everything=everything,
        **settings,
    )
    with when_stopped(partial(_note_best, output)), progress_bar("tuning") as listen:
        tuned = search.tune(
            models, output, goals=goals, settings=chosen, cased=cased, force=force, listen=listen, note=note
        )
    _show_finalists(tuned)
    _conclude(tuned, output)


def _note_best(output: Path) -> None:
    """Say how to go on."""
    if (output / "best").is_dir():
        words = [word for word in sys.argv[1:] if word != "--force"]
        note(f"everything measured is saved, the best so far is {output}/best; continue with:")
        note(shlex.join(["bertedge", *words]))


def _show_finalists(tuned: Any) -> None:
    """Print a table of the finalists."""
    from bertedge.report.render import value_in_words
    from bertedge.report.terminal import terminal_table, without

    losses = [metric for metric in tuned.objectives if metric in METRICS]
    rows = [["candidate", "p95 ms", "threads", "of float (95 %)", "file", *losses]]
    for entry in (*tuned.points, *tuned.beaten):
        fastest = entry.latency[0]
        rows.append(
            [
                f"{entry.name}{' (best)' if entry.name == tuned.best else ''}",
                f"{fastest.p95_ms:.2f}",
                str(fastest.threads),
                f"{fastest.ratio.value:.2f} ({fastest.ratio.low:.2f} to {fastest.ratio.high:.2f})",
                f"{entry.size_bytes / 1e6:.1f} MB",
                *(value_in_words(entry.fidelity[metric]) for metric in losses),
            ]
        )
    stdout.print(terminal_table("", [rows, without(rows, "threads")], width=stdout.width))
    others = len(tuned.measured) - len(tuned.points) - len(tuned.beaten)
    if others:
        note(f"{others} more candidates were tried")


def _conclude(tuned: Any, output: Path) -> None:
    """Print the result of the search.

    Raises:
        CheckFailed: a goal was not met.
    """
    note(f"all numbers: {output}/pareto.json, picture: {output}/pareto.svg")
    if not tuned.complete:
        note("the time was used up before everything was tried; the same command continues")
    for warning in Bundle.open(output / "best", check=False).manifest.warnings:
        note(f"warning: {warning}")
    note(f"best: {tuned.best}, with --threads {tuned.threads}: {output}/best")
    if tuned.reason:
        note(tuned.reason)
    for option, reached in tuned.goals.items():
        note(outcome_sentence(option, reached))
    missed = [outcome_sentence(option, reached) for option, reached in tuned.goals.items() if not reached.met]
    if missed:
        raise CheckFailed(
            f"no candidate meets all goals with certainty; the best: {'; '.join(missed)}",
            "relax the goals, or add a smaller student as another MODEL (bertedge distill)",
        )
