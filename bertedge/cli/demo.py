"""``bertedge demo``: the whole way on the built-in model."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from bertedge.checkpoint import BUILT_IN
from bertedge.cli.bench import bench
from bertedge.cli.check import verify
from bertedge.cli.console import note, stdout
from bertedge.cli.make import quantize
from bertedge.cli.options import ForceOption
from bertedge.cli.use import fill_mask, next_sentence

SENTENCES = ("The president of the United [MASK] gave a speech.", "She opened the [MASK] and went into the house.")
PAIRS = (
    ("He opened the door and stepped inside.", "The room was dark, and he could not see anything."),
    ("He opened the door and stepped inside.", "Inflation is measured by the consumer price index."),
)


def demo(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the bundle in this folder.", show_default=False)
    ] = None,
    force: ForceOption = False,
) -> None:
    """Quantize the built-in model for this CPU, verify it, measure it, use it."""
    model = BUILT_IN[0]
    folder = output or Path(f"{model}.int8")
    # from inside the scratch folder, so that what is printed is what a person would type
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch if output is None else "."):
        _step(f"bertedge quantize {model} -o {folder}")
        quantize(model, folder, force=force)
        _step(f"bertedge verify {folder}")
        verify(folder)
        _step(f"bertedge bench {folder} --reference {model}")
        bench([folder], reference=model)
        for text in SENTENCES:
            _step(f'bertedge fill-mask {folder} "{text}"')
            fill_mask(folder, text)
        for first, second in PAIRS:
            _step(f'bertedge next-sentence {folder} "{first}" "{second}"')
            next_sentence(folder, first, second)
    if output:
        note(f"the bundle is in {output}")


def _step(command: str) -> None:
    stdout.print(f"\n$ {command}", style="bold")
