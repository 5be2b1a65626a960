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
from bertedge.cli.example_texts import FIRST, FOLLOWING, MASKED, UNRELATED
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
            "--output", "-o", help="Folder of the bundle; default: a folder in the current one.", show_default=False
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Quantize the built-in model for this CPU, verify it, use it, measure it.

    The bundle is kept, and a later demo uses it again.
    """
    model = library("bertedge.checkpoint", "tools").BUILT_IN[0]
    show(model, output or Path(f"{model}.int8"), force=force)


def show(model: str, folder: Path, *, force: bool = False, measure: Callable[..., None] = bench) -> None:
    """Print the command of each step, and run it.

    Args:
        measure: called in place of :func:`bertedge.cli.bench.bench`.

    Raises:
        FileError: the folder holds something else.
    """
    name = shlex.quote(str(folder))
    if not force and _made_of(model, folder):
        note(f"{folder}: the bundle of an earlier demo is used again; --force makes a new one")
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
    note(f"\nThe bundle is kept in {folder}. Next, try another text, or quantize your own model:")
    note(f'bertedge fill-mask {name} "{FIRST}"\nbertedge quantize MODEL -o MODEL.int8')


def _made_of(model: str, folder: Path) -> bool:
    """Whether a folder has a bundle of this model, made for this CPU by this version and its default recipe."""
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
