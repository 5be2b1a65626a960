"""``bertedge demo``: all steps on the built-in model."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bertedge.bundle import Bundle
from bertedge.cli.bench import bench
from bertedge.cli.check import verify
from bertedge.cli.console import note, stdout
from bertedge.cli.examples import FIRST, FOLLOWING, MASKED, UNRELATED
from bertedge.cli.options import ForceOption, library
from bertedge.cli.quantize_command import quantize
from bertedge.cli.use import VERBS
from bertedge.errors import BertEdgeError
from bertedge.manifest import MANIFEST
from bertedge.target import AUTO, resolve_target


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where the bundle is kept; default: below the current folder.", show_default=False
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Quantize the built-in model for this CPU, verify it, use it, measure it.

    The bundle is kept, and a bundle of an earlier demo is used again.
    """
    model = library("bertedge.checkpoint", "tools").BUILT_IN[0]
    show(model, output or Path(f"{model}.int8"), force=force)


def show(model: str, folder: Path, *, force: bool = False, measure: Callable[..., None] = bench) -> None:
    """Every step with the command that does the same.

    Args:
        measure: called as :func:`bertedge.cli.bench.bench` is.

    Raises:
        FileError: the folder holds something else.
    """
    name = shlex.quote(str(folder))
    if not force and _made_of(model, folder):
        note(f"{folder}: is used again from an earlier demo; --force makes it anew")
    else:
        _step(f"bertedge quantize {model} -o {name}")
        quantize(model=model, output=folder, force=force)
    _step(f"bertedge verify {name}")
    verify(folder)
    for text in MASKED:
        _step(f'bertedge fill-mask {name} "{text}"')
        VERBS["fill-mask"](bundle=folder, text=text)
    for first, second in (FOLLOWING, UNRELATED):
        _step(f'bertedge next-sentence {name} "{first}" "{second}"')
        VERBS["next-sentence"](bundle=folder, first=first, second=second)
    _step(f"bertedge bench {name} --reference {model}")
    measure(candidates=[folder], reference=model)
    note(f"\nThe bundle is kept in {folder}. Next, ask it something else, or quantize your own model:")
    note(f'bertedge fill-mask {name} "{FIRST}"\nbertedge quantize MODEL -o MODEL.int8')


def _made_of(model: str, folder: Path) -> bool:
    """Whether a folder holds this model, by the default recipe of this bertedge, for this CPU."""
    if not (folder / MANIFEST).is_file():
        return False
    checkpoint = library("bertedge.checkpoint", "tools").open_checkpoint(model)
    recipe = library("bertedge.recipe", "tools").recipe_named("default")
    try:
        manifest = Bundle.open(folder).manifest
    except BertEdgeError:  # damaged: quantize reports it
        return False
    version = library("bertedge", "tools").__version__
    return (
        manifest.provenance.source_sha256 == checkpoint.weights_sha256
        and manifest.recipe == recipe
        and manifest.target == resolve_target(AUTO).name
        and manifest.provenance.versions.get("bertedge") == version
    )


def _step(command: str) -> None:
    stdout.print(f"\n$ {command}", style="bold")
