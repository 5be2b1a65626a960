"""Arguments and options that several commands share."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from glob import escape, glob
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.engines import AUTO as AUTO_ENGINE
from bertedge.engines import ENGINES
from bertedge.errors import MissingExtraError, UsageError
from bertedge.target import AUTO, TARGETS


class PositionsChoice(StrEnum):
    """Positions that masked words are computed at."""

    masked = "masked"
    all = "all"


class FormatChoice(StrEnum):
    """File format of the model."""

    onnx = "onnx"
    ort = "ort"


def choices(values: Iterable[str]) -> dict[str, Any]:
    """Arguments of ``typer.Option`` to list the values of an option in help and complete them in a shell."""
    names = list(values)
    return {"metavar": " | ".join(names), "autocompletion": lambda: names}


def folders(incomplete: str) -> list[str]:
    """The folders whose paths begin like this, to complete them in a shell."""
    return [f"{path}/" for path in sorted(glob(f"{escape(incomplete)}*")) if os.path.isdir(path)]


ModelArgument = Annotated[
    str, typer.Argument(help="A checkpoint folder, a hub id or a built-in name.", show_default=False)
]
#: What an argument that takes bundles says about them.
BUNDLE_HELP = "A folder made by 'bertedge quantize' or 'bertedge export', or OWNER/NAME on the hub."
BundleArgument = Annotated[str, typer.Argument(help=BUNDLE_HELP, show_default=False, autocompletion=folders)]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", show_default=False)]
TargetOption = Annotated[
    str,
    typer.Option(
        help=f"The CPU to make it for: {', '.join((AUTO, *TARGETS))}; 'bertedge info --targets' describes them.",
        metavar="TARGET",
        autocompletion=lambda: [AUTO, *TARGETS],
    ),
]
PositionsOption = Annotated[
    PositionsChoice,
    typer.Option(
        help="masked: words are computed at the masks only. all: every token, with the input and output names of "
        "Optimum and its pipelines."
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
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting; may be repeated. The keys are listed below.", metavar="KEY=VALUE"),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="The column of the texts, twice for pairs; label=NAME for the column of the labels. Default: usual names.",
        metavar="NAME",
        show_default=False,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Threads; default: one for each core this process may use.", show_default=False),
]
EngineOption = Annotated[
    str,
    typer.Option(
        help=f"Engine that runs the model: {', '.join((AUTO_ENGINE, *ENGINES))}; auto: the fastest correct one.",
        metavar="ENGINE",
        autocompletion=lambda: [AUTO_ENGINE, *ENGINES],
    ),
]
AnyCpuOption = Annotated[
    bool, typer.Option("--allow-any-cpu", help="Run a bundle even if its results are wrong on this CPU.")
]
NoVerifyOption = Annotated[
    bool, typer.Option("--no-verify", help="Do not check the hashes of the bundle's files; loads faster.")
]


def require_different_files(inputs: Mapping[str, Path | None], outputs: Mapping[str, Path | None]) -> None:
    """Refuse to write one file twice, or to overwrite an input. A device or a pipe may be used more than once.

    Args:
        inputs, outputs: option or argument -> path.

    Raises:
        UsageError: two of them are the same file.
    """
    seen: dict[str, str] = {}
    for name, path in {**inputs, **outputs}.items():
        if path is None or (path.exists() and not path.is_file()):
            continue
        other = seen.setdefault(os.path.realpath(path), name)
        if other != name and name in outputs:
            raise UsageError(f"{other} and {name}: are the same file, {path}", "give each another file")


def require_column_has_file(columns: Sequence[str] | None, file: Path | None, option: str) -> None:
    """Refuse ``--column`` without the file whose columns it names.

    Raises:
        UsageError: there is none.
    """
    if columns and file is None:
        raise UsageError(f"--column {columns[0]}: has no effect without {option}", f"add {option} FILE")


def library(module: str, extra: str) -> Any:
    """Import a module of bertedge that needs an extra.

    Raises:
        MissingExtraError: a package of the extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bertedge"):
            raise
        raise MissingExtraError(error.name or module, extra) from error
