"""Arguments and options that several commands share."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.engines import AUTO as AUTO_ENGINE
from bertedge.engines import ENGINES
from bertedge.errors import MissingExtraError, UsageError
from bertedge.target import AUTO, TARGETS


class PositionsChoice(StrEnum):
    """Positions that the MLM head computes."""

    masked = "masked"
    all = "all"


class FormatChoice(StrEnum):
    """File format of the model."""

    onnx = "onnx"
    ort = "ort"


def choices(values: Iterable[str]) -> dict[str, Any]:
    """Arguments of ``typer.Option`` that show the values of an option in its help, and complete them in a shell."""
    names = list(values)
    return {"metavar": " | ".join(names), "autocompletion": lambda: names}


ModelArgument = Annotated[
    str, typer.Argument(help="A checkpoint folder, a hub id or a built-in name.", show_default=False)
]
BundleArgument = Annotated[
    Path, typer.Argument(help="A folder made by 'bertedge quantize' or 'bertedge export'.", show_default=False)
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", show_default=False)]
TargetOption = Annotated[
    str,
    typer.Option(
        help=f"The CPU it is for: {', '.join((AUTO, *TARGETS))}; 'bertedge info --targets' describes them.",
        metavar="TARGET",
        autocompletion=lambda: [AUTO, *TARGETS],
    ),
]
PositionsOption = Annotated[
    PositionsChoice,
    typer.Option(
        help="Run the MLM head where it is asked for; or everywhere, under the names that Optimum's pipelines use."
    ),
]
FormatOption = Annotated[
    FormatChoice, typer.Option("--format", help="onnx; or ort, for onnxruntime's minimal builds on phones and boards.")
]
CasedOption = Annotated[
    bool | None,
    typer.Option(
        "--cased/--uncased",
        help="Keep capital letters, or make text lower case; default: what the model's tokenizer files say.",
        show_default=False,
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output if it is there.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting; may be repeated. The keys are listed below.", metavar="KEY=VALUE"),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Threads; default: one for each core this process may use.", show_default=False),
]
EngineOption = Annotated[
    str,
    typer.Option(
        help=f"What computes the model: {', '.join((AUTO_ENGINE, *ENGINES))}; auto: the fastest that is correct here.",
        metavar="ENGINE",
        autocompletion=lambda: [AUTO_ENGINE, *ENGINES],
    ),
]
AnyCpuOption = Annotated[
    bool, typer.Option("--allow-any-cpu", help="Run a bundle even where its target says that results are wrong.")
]
NoVerifyOption = Annotated[
    bool, typer.Option("--no-verify", help="Do not compare the bundle's files with its hashes; loads faster.")
]


def require_different_files(inputs: Mapping[str, Path | None], outputs: Mapping[str, Path | None]) -> None:
    """Refuse to write a file twice, or over an input; a device or a pipe may be named more than once.

    Args:
        inputs, outputs: the names that the user knows -> paths.

    Raises:
        UsageError: two names are one file.
    """
    seen: dict[str, str] = {}
    for name, path in {**inputs, **outputs}.items():
        if path is None or (path.exists() and not path.is_file()):
            continue
        other = seen.setdefault(os.path.realpath(path), name)
        if other != name and name in outputs:
            raise UsageError(f"{other} and {name}: are one file, {path}", "give each a file of its own")


def library(module: str, extra: str) -> Any:
    """Import a module of bertedge that needs an extra.

    Raises:
        MissingExtraError: names the package and the pip command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bertedge"):
            raise
        raise MissingExtraError(error.name or module, extra) from error
