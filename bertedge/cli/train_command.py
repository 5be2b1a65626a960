"""``bertedge train`` and ``bertedge distill``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.added_options import added, setting_options
from bertedge.cli.console import note, progress_bar
from bertedge.cli.options import CasedOption, ForceOption, SetOption, library
from bertedge.heads import TASKS
from bertedge.keys import Key, as_file_errors, built, read_assignments, read_table, read_toml
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

#: Minutes of a run if no budget is given.
MINUTES = 10.0


#: Heads that can be trained.
Head = StrEnum("Head", {task: task for task in TASKS})  # type: ignore[misc]


BUDGET, MODEL, LEARNING, FILES = "Budget (one of them)", "Model", "Learning", "Files"


def _option(help: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, rich_help_panel=panel, **more)


CorpusArgument = Annotated[Path, typer.Argument(help="Text: one sentence a line, a blank line between documents.")]
OutputOption = Annotated[
    Path, _option("The checkpoint to write. The state of an unfinished run is in OUTPUT.run.", FILES, "--output", "-o")
]
#: Options that both commands have.
COMMON: dict[str, Any] = {
    "add_head": Annotated[
        list[Head] | None, _option("Add this head if the model lacks it, and train it; may be repeated.", MODEL)
    ],
    "cased": CasedOption,
    "settings_file": Annotated[Path | None, _option("TOML file with settings.", LEARNING, "--settings")],
    "assignments": SetOption,
    "resume": Annotated[bool, _option("Continue the interrupted run.", FILES, "--resume")],
    "plot": Annotated[Path | None, _option("Draw the run's curves (.svg, .png or .pdf).", FILES)],
    "cache": Annotated[Path | None, _option("Folder of tokenized corpora; default: the user's cache folder.", FILES)],
    "force": ForceOption,
}
_keys = training_keys()


def _with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of both commands; the command gets them as ``common`` and ``settings``."""
    shown = {BUDGET: [_keys[name] for name in BUDGETS], MODEL: [_keys["layers"], _keys["hidden"]]}
    return setting_options(shown)(added(COMMON, "common", dict)(command))


@_with_common_options
def train(
    corpus: CorpusArgument,
    output: OutputOption,
    settings: Mapping[str, Any],
    common: Mapping[str, Any],
    init: Annotated[str | None, _option("A checkpoint to start from, instead of a new model.", MODEL)] = None,
) -> None:
    """Pretrain a BERT on plain text: masked words and next sentences. It also runs under torchrun."""
    values = chosen_settings(training_keys(), common, settings)
    learn, shape = built(TrainingSettings, values), built(ModelShape, values)
    run = library("bertedge.train.pretrain", "train")
    _run("training", output, common, lambda more: run.train(corpus, output, learn, shape=shape, init=init, **more))


@_with_common_options
def distill(
    teacher: Annotated[str, typer.Argument(help="The checkpoint to imitate: a folder, a hub id or a built-in name.")],
    corpus: CorpusArgument,
    output: OutputOption,
    settings: Mapping[str, Any],
    common: Mapping[str, Any],
    init: Annotated[
        str | None, _option("A student to start from; default: a projection of the teacher.", MODEL)
    ] = None,
    keep_vocab: Annotated[
        int | None,
        _option("Keep only this many tokens of the vocabulary, the most frequent in the corpus.", MODEL, min=1),
    ] = None,
) -> None:
    """Make a smaller BERT that imitates a larger one."""
    values = DISTILLING | chosen_settings(distillation_keys(), common, settings)
    learn, shape, weights = (built(kind, values) for kind in (TrainingSettings, ModelShape, DistillationSettings))
    run = library("bertedge.train.distill", "train")

    def start(more: dict[str, Any]) -> Any:
        return run.distill(
            teacher, corpus, output, learn, shape=shape, init=init, distillation=weights, keep_vocab=keep_vocab, **more
        )

    _run("distilling", output, common, start)


def chosen_settings(keys: Mapping[str, Key], common: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``--settings``, changed by ``--set``, then by options. A new budget replaces an earlier one."""
    values: dict[str, Any] = {}
    file = common["settings_file"]
    with as_file_errors(file):
        of_file = read_table(read_toml(file), keys) if file else {}
        for kind in (TrainingSettings, ModelShape, DistillationSettings):
            built(kind, _with_budget(of_file))  # a value out of range is an error of the file
    for given in (of_file, read_assignments(common["assignments"] or (), keys), options):
        if given.keys() & set(BUDGETS):
            values = {name: value for name, value in values.items() if name not in BUDGETS}
        values |= given
    return _with_budget(values)


def _with_budget(values: dict[str, Any]) -> dict[str, Any]:
    return values if values.keys() & set(BUDGETS) else {"minutes": MINUTES, **values}


def _run(label: str, output: Path, common: Mapping[str, Any], start: Callable[[dict[str, Any]], Any]) -> None:
    """Run training, show its progress, draw its curves, and print what was written.

    With several processes, only process 0 prints.
    """
    curve, plot = library("bertedge.train.curve", "train"), common["plot"]
    if plot is not None:
        curve.check_curve_path(plot)
    first = int(os.environ.get("RANK", "0")) == 0
    with progress_bar(label) as show:

        def on_step(progress: Any) -> None:
            line = _line(progress)
            show(progress.share_done, line)
            if progress.step % 100 == 0 and not sys.stderr.isatty():
                note(f"{label}: {100 * progress.share_done:.0f} % {line}")

        more = {name: common[name] for name in ("cased", "cache", "resume", "force")}
        more["add_heads"] = tuple(dict.fromkeys(head.value for head in common["add_head"] or ()))
        speaking = {"on_step": on_step, "note": note} if first else {"note": lambda text: None}
        done = start({**more, **speaking})
    if not first:
        return
    if plot is not None:
        log_of = library("bertedge.train.folder", "train").log_of
        curve.draw_curve(log_of(output), plot, f"{output.name}: {label}")
        note(f"curves: {plot}")
    _say_what_was_done(done, output)


def _say_what_was_done(done: Any, output: Path) -> None:
    from bertedge.train.keeper import PROVENANCE  # loads torch; training has loaded it already

    if done.stopped:
        command = shlex.join(["bertedge", *(word for word in sys.argv[1:] if word not in ("--resume", "--force"))])
        note(f"{_line(done)}: everything is saved, continue with:\n{command} --resume")
        raise typer.Exit(130)
    note(f"{output}: written after {_line(done)}")
    kept = read_json(output / PROVENANCE)["done"]["steps"]
    if kept != done.step:
        note(f"the weights are from step {kept}, the best on the held-out text")


def _line(progress: Any) -> str:
    """The progress of a run in one line. Heads that are not trained are left out."""
    heads = "".join(f"{head} {value:.3f} " for head, value in progress.accuracies.items())
    speed = progress.tokens / max(progress.elapsed_s, 1e-9)
    return f"step {progress.step} loss {progress.loss:.3f} {heads}{speed:.0f} tokens/s"
