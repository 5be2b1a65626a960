"""``bertedge demo``: all steps on the built-in models."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.bundle import Bundle
from bertedge.cli.bench import bench
from bertedge.cli.check import verify
from bertedge.cli.console import note, stdout
from bertedge.cli.example_texts import FIRST, FOLLOWING, MASKED, QUESTIONS, UNRELATED
from bertedge.cli.options import ForceOption, library
from bertedge.cli.quantize_command import quantize
from bertedge.cli.use import VERBS
from bertedge.errors import BertEdgeError
from bertedge.manifest import MANIFEST
from bertedge.target import AUTO, resolve_target

#: The second model is timed only briefly; what its int8 keeps is the point.
SHORT: dict[str, Any] = {"lengths": "1x16", "rounds": 8, "seconds": 5}
short_bench = partial(bench, **SHORT)


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the first bundle; default: a folder in the current one.",
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Quantize the built-in models for this CPU, verify, use and measure them.

    The first one fills masks and judges pairs of sentences, the second one finds the intent of a question. The bundles
    are kept, and a later demo uses them again.
    """
    checkpoints = library("bertedge.checkpoint", "tools")
    model, classifier = checkpoints.BUILT_IN
    folder = output or Path(f"{model}.int8")
    show(model, folder, force=force)
    questions = checkpoints.locate(classifier) / "questions.csv"
    show_classifier(classifier, folder.with_name(f"{classifier}.int8"), questions, force=force)
    note(
        f"\nThe bundles are kept next to each other in {folder.absolute().parent}. Next, try another text, or quantize"
    )
    note(f'your own model:\nbertedge fill-mask {_quoted(folder)} "{FIRST}"\nbertedge quantize MODEL -o MODEL.int8')


def show(model: str, folder: Path, *, force: bool = False, measure: Callable[..., None] = bench) -> None:
    """Print the command of each step on a model that fills masks and judges pairs, and run it.

    Args:
        measure: called in place of :func:`bertedge.cli.bench.bench`.

    Raises:
        FileError: the folder holds something else.
    """
    name = _quoted(folder)
    _make(model, folder, force=force)
    for text in MASKED:
        _step(f'bertedge fill-mask {name} "{text}"')
        VERBS["fill-mask"](bundle=folder, text=text)
    for first, second in (FOLLOWING, UNRELATED):
        _step(f'bertedge next-sentence {name} "{first}" "{second}"')
        VERBS["next-sentence"](bundle=folder, first=first, second=second)
    _step(f"bertedge bench {name} --reference {model}")
    measure(candidates=[folder], reference=model)


def show_classifier(
    model: str, folder: Path, questions: Path, *, force: bool = False, measure: Callable[..., None] = short_bench
) -> None:
    """Print the command of each step on a classifier, and run it.

    Args:
        questions: labelled texts, on which its bundle is compared with float.
        measure: called in place of a short :func:`bertedge.cli.bench.bench`.

    Raises:
        FileError: the folder holds something else.
    """
    name = _quoted(folder)
    _make(model, folder, force=force)
    for text in QUESTIONS:
        _step(f'bertedge classify {name} "{text}" --top-k 2')
        VERBS["classify"](bundle=folder, texts=[text], top_k=2)
    options = " ".join(f"--{option} {value}" for option, value in SHORT.items())
    _step(f"bertedge bench {name} --reference {model} --data {_quoted(questions)} {options}")
    measure(candidates=[folder], reference=model, data=questions)


def _make(model: str, folder: Path, *, force: bool) -> None:
    """Make the bundle, if it is not that of an earlier demo, and verify it."""
    name = _quoted(folder)
    if not force and _made_of(model, folder):
        note(f"{folder}: the bundle of an earlier demo is used again; --force makes a new one")
    else:
        _step(f"bertedge quantize {model} -o {name}")
        quantize(model=model, output=folder, force=force)
    _step(f"bertedge verify {name}")
    verify(str(folder))


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


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _step(command: str) -> None:
    stdout.print(f"\n$ {command}", style="bold")
