"""What ``train`` and ``distill`` do alike: settings, a live line, the run, the picture, the last word."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from bertedge.cli.console import note, progress_bar
from bertedge.cli.options import library
from bertedge.records import read_json

#: Options that are fields of the training settings under the same names.
SETTINGS = (
    "steps",
    "minutes",
    "epochs",
    "batch_size",
    "accumulate",
    "max_length",
    "learning_rate",
    "warmup_share",
    "dropout",
    "whole_words",
    "precision",
    "seed",
    "held_out",
    "evaluations",
    "save_minutes",
)


def run_training(label: str, run: Any, given: dict[str, Any], start: Callable[[dict[str, Any]], Any]) -> None:
    """What both commands do: settings, a live line, the run, the picture, the last word."""
    fields = {name: given[name] for name in SETTINGS}
    if fields["steps"] is fields["minutes"] is fields["epochs"] is None:
        fields["minutes"] = 10.0
    fields["precision"] = fields["precision"].value
    settings, plot, output = run.TrainingSettings(**fields), given["plot"], given["output"]
    curve = library("bertedge.train.curve", "train")
    if plot is not None:
        curve.check_curve_path(plot)
    first = int(os.environ.get("RANK", "0")) == 0
    common = {name: given[name] for name in ("cased", "cache", "force", "resume")}
    common["add_heads"] = tuple(dict.fromkeys(head.value for head in given["add_head"] or ()))
    with _listener(label, silent=not first) as listen:
        done = start(
            {
                **common,
                "settings": settings,
                "dtype": given["dtype"].value,
                "on_step": listen,
                "note": note if first else lambda text: None,
            }
        )
    if not first:
        return
    from bertedge.train.keeper import PROVENANCE  # loads torch, as training did

    if plot is not None:
        curve.draw_curve(run.log_of(output), plot, f"{output.name}: {label}")
        note(f"curves: {plot}")
    if done.stopped:
        command = shlex.join(["bertedge", *(word for word in sys.argv[1:] if word not in ("--resume", "--force"))])
        note(f"{_line(done)}: everything is saved, go on with:\n{command} --resume")
        raise typer.Exit(130)
    note(f"{output}: written after {_line(done)}")
    kept = read_json(output / PROVENANCE)["done"]["steps"]
    if kept != done.step:
        note(f"the weights are those of step {kept}, which were the best on the text that was held out")


@contextmanager
def _listener(label: str, *, silent: bool) -> Iterator[Callable[[Any], None]]:
    """A live line with loss, accuracies and speed; where there is no terminal, a line every hundred steps."""
    if silent:
        yield lambda progress: None
        return
    with progress_bar(label) as show:

        def listen(progress: Any) -> None:
            line = _line(progress)
            show(progress.share_done, line)
            if progress.step % 100 == 0 and not sys.stderr.isatty():
                note(f"{label}: {100 * progress.share_done:.0f} % {line}")

        yield listen


def _line(progress: Any) -> str:
    """How far a run is; heads that it does not train are left out."""
    accuracies = {"mlm": progress.mlm_accuracy, "nsp": progress.nsp_accuracy}
    heads = "".join(f"{head} {value:.3f} " for head, value in accuracies.items() if value is not None)
    speed = progress.tokens / max(progress.elapsed_s, 1e-9)
    return f"step {progress.step} loss {progress.loss:.3f} {heads}{speed:.0f} tokens/s"
