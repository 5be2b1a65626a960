"""``bertedge train`` and ``bertedge distill``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.added_options import setting_options
from bertedge.cli.console import note, progress_bar
from bertedge.cli.options import CasedOption, ForceOption, SetOption, library
from bertedge.keys import Key, built, read_assignments, read_settings
from bertedge.records import read_json
from bertedge.train.training_settings import (
    BUDGETS,
    DISTILLING,
    DistillationSettings,
    ModelShape,
    TrainingSettings,
    distillation_keys,
    training_keys,
)

#: A run ends after so many minutes where nothing else is given.
MINUTES = 10.0


class Head(StrEnum):
    """Heads that can be trained."""

    mlm = "mlm"
    nsp = "nsp"


BUDGET, MODEL, LEARNING, KEEPING = "Budget (one of them)", "Model", "Learning", "Files"
CorpusArgument = Annotated[Path, typer.Argument(help="Text: one sentence a line, a blank line between documents.")]
OutputOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="The checkpoint to write; an unfinished run is kept in OUTPUT.run.",
        rich_help_panel=KEEPING,
    ),
]
InitOption = Annotated[
    str | None,
    typer.Option(help="A checkpoint to go on from, instead of a new model.", show_default=False, rich_help_panel=MODEL),
]
AddHeadOption = Annotated[
    list[Head] | None,
    typer.Option(
        help="Add this head if the model lacks it, and train it; may be given twice.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="TOML file with settings.", show_default=False, rich_help_panel=LEARNING),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the interrupted run.", rich_help_panel=KEEPING)
]
PlotOption = Annotated[
    Path | None,
    typer.Option(help="Draw the run's curves (.svg, .png or .pdf).", show_default=False, rich_help_panel=KEEPING),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        help="Where tokenized corpora are kept; default: in the user's cache folder.",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
]
_keys = training_keys()
_common_settings = setting_options(
    {BUDGET: [_keys[name] for name in BUDGETS], MODEL: [_keys["layers"], _keys["hidden"]]}
)


@_common_settings
def train(
    corpus: CorpusArgument,
    output: OutputOption,
    settings: Mapping[str, Any],
    init: InitOption = None,
    add_head: AddHeadOption = None,
    cased: CasedOption = None,
    settings_file: SettingsOption = None,
    assignments: SetOption = None,
    resume: ResumeOption = False,
    plot: PlotOption = None,
    cache: CacheOption = None,
    force: ForceOption = False,
) -> None:
    """Pretrain a BERT on plain text: masked words and next sentences. Runs under torchrun as well."""
    values = chosen_settings(training_keys(), settings_file, assignments or (), settings)
    where = {"init": init, "cased": cased, "cache": cache, "resume": resume, "force": force}
    run = library("bertedge.train.pretrain", "train")
    with _live("training", output, plot) as live:
        live.done = run.train(
            corpus,
            output,
            built(TrainingSettings, values),
            shape=built(ModelShape, values),
            add_heads=_heads(add_head),
            **where,
            **live.listeners,
        )


@_common_settings
def distill(
    teacher: Annotated[str, typer.Argument(help="The checkpoint to imitate: a folder, a hub id or a built-in name.")],
    corpus: CorpusArgument,
    output: OutputOption,
    settings: Mapping[str, Any],
    init: Annotated[
        str | None,
        typer.Option(
            help="A student to go on with; default: the teacher, projected.", show_default=False, rich_help_panel=MODEL
        ),
    ] = None,
    keep_vocab: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep this many tokens of the vocabulary, those that the corpus uses most.",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    add_head: AddHeadOption = None,
    cased: CasedOption = None,
    settings_file: SettingsOption = None,
    assignments: SetOption = None,
    resume: ResumeOption = False,
    plot: PlotOption = None,
    cache: CacheOption = None,
    force: ForceOption = False,
) -> None:
    """Make a smaller BERT that imitates a larger one."""
    values = DISTILLING | chosen_settings(distillation_keys(), settings_file, assignments or (), settings)
    where = {"init": init, "cased": cased, "cache": cache, "resume": resume, "force": force}
    run = library("bertedge.train.distill", "train")
    with _live("distilling", output, plot) as live:
        live.done = run.distill(
            teacher,
            corpus,
            output,
            built(TrainingSettings, values),
            shape=built(ModelShape, values),
            distillation=built(DistillationSettings, values),
            keep_vocab=keep_vocab,
            add_heads=_heads(add_head),
            **where,
            **live.listeners,
        )


def chosen_settings(
    keys: Mapping[str, Key], file: Path | None, assignments: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a file, changed by ``--set``, changed by options; what ends the run is replaced as a whole."""
    values: dict[str, Any] = {}
    for given in (read_settings(file, keys) if file else {}, read_assignments(assignments, keys), options):
        if given.keys() & set(BUDGETS):
            values = {name: value for name, value in values.items() if name not in BUDGETS}
        values |= given
    return values if values.keys() & set(BUDGETS) else {"minutes": MINUTES, **values}


def _heads(names: Sequence[Head] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(head.value for head in names or ()))


class _Live:
    """A run on the terminal: a live line, notes; of many processes only the first one speaks.

    Attributes:
        done: what the run did; set by the command.
    """

    def __init__(self, label: str, show: Callable[[float, str], None], first: bool) -> None:
        self.done: Any = None
        self._label, self._show = label, show
        self.listeners: dict[str, Any] = {
            "on_step": self._on_step if first else lambda progress: None,
            "note": note if first else lambda text: None,
        }

    def _on_step(self, progress: Any) -> None:
        line = _line(progress)
        self._show(progress.share_done, line)
        if progress.step % 100 == 0 and not sys.stderr.isatty():
            note(f"{self._label}: {100 * progress.share_done:.0f} % {line}")


@contextmanager
def _live(label: str, output: Path, plot: Path | None) -> Iterator[_Live]:
    """Show a run while it goes on; at its end draw its curves and say what was written."""
    curve = library("bertedge.train.curve", "train")
    if plot is not None:
        curve.check_curve_path(plot)
    first = int(os.environ.get("RANK", "0")) == 0
    with progress_bar(label) as show:
        live = _Live(label, show, first)
        yield live
    if not first:
        return
    if plot is not None:
        log_of = library("bertedge.train.folder", "train").log_of
        curve.draw_curve(log_of(output), plot, f"{output.name}: {label}")
        note(f"curves: {plot}")
    _say_what_was_done(live.done, output)


def _say_what_was_done(done: Any, output: Path) -> None:
    from bertedge.train.keeper import PROVENANCE  # loads torch, as training did

    if done.stopped:
        command = shlex.join(["bertedge", *(word for word in sys.argv[1:] if word not in ("--resume", "--force"))])
        note(f"{_line(done)}: everything is saved, go on with:\n{command} --resume")
        raise typer.Exit(130)
    note(f"{output}: written after {_line(done)}")
    kept = read_json(output / PROVENANCE)["done"]["steps"]
    if kept != done.step:
        note(f"the weights are those of step {kept}, which were the best on the text that was held out")


def _line(progress: Any) -> str:
    """How far a run is; heads that it does not train are left out."""
    accuracies = {"mlm": progress.mlm_accuracy, "nsp": progress.nsp_accuracy}
    heads = "".join(f"{head} {value:.3f} " for head, value in accuracies.items() if value is not None)
    speed = progress.tokens / max(progress.elapsed_s, 1e-9)
    return f"step {progress.step} loss {progress.loss:.3f} {heads}{speed:.0f} tokens/s"
