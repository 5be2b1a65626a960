"""The curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertedge.errors import MissingExtraError, UsageError
from bertedge.heads import TASKS

if TYPE_CHECKING:
    from bertedge.plotting import Figure

SUFFIXES = (".svg", ".png", ".pdf")


def check_curve_path(path: Path) -> None:
    """Check before a run that its picture can be drawn at the end.

    Raises:
        UsageError: the suffix is unknown.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {path}: cannot be drawn", f"end the name in {', '.join(SUFFIXES)}")
    try:
        import bertedge.plotting  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "train") from error


def draw_curve(records: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw loss, both accuracies and the learning rate over the steps, from the lines of ``metrics.jsonl``.

    Raises:
        FileError: the picture cannot be written.
    """
    from bertedge.plotting import save, style

    with style():
        save(_figure(records, title), path, hint="choose another place for --plot")


def _figure(records: Sequence[dict[str, Any]], title: str) -> Figure:
    from bertedge.plotting import Figure

    steps = [record for record in records if "loss" in record]
    held_out = [record for record in records if "held_out_loss" in record]
    figure = Figure(figsize=(9, 6), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, 2, sharex=True).flat
    for panel, key, label in zip(
        panels,
        ("loss", *(f"{task}_accuracy" for task in TASKS), "learning_rate"),
        ("loss", *(f"{task.upper()} accuracy" for task in TASKS), "learning rate"),
        strict=True,
    ):
        known = [r for r in steps if r.get(key) is not None]
        panel.plot([r["step"] for r in known], [r[key] for r in known], color="tab:blue", label="training")
        measured = [r for r in held_out if r.get(f"held_out_{key}") is not None]
        if measured:
            panel.plot(
                [r["step"] for r in measured],
                [r[f"held_out_{key}"] for r in measured],
                color="tab:orange",
                marker="o",
                markersize=3,
                linestyle="--",
                label="held out",
            )
            panel.legend()
        panel.set_title(label if known or measured or not steps else f"{label}: not trained")
        panel.grid(alpha=0.3)
    for panel in figure.axes[2:]:
        panel.set_xlabel("step")
    return figure
