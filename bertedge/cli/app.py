"""The ``bertedge`` command."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

import bertedge
from bertedge.cli import bench, check, demo, make, train, use
from bertedge.cli.console import reported_errors

app = typer.Typer(
    name="bertedge",
    help="Small, fast and provably right int8 BERT on CPUs and ARM boards.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "quantize": make.quantize,
    "export": make.export,
    "bench": bench.bench,
    "verify": check.verify,
    "info": check.info,
    "fill-mask": use.fill_mask,
    "next-sentence": use.next_sentence,
    "train": train.train,
    "distill": train.distill,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bertedge {bertedge.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Small, fast and provably right int8 BERT on CPUs and ARM boards."""


def main() -> None:
    """Entry point: run a command, and turn its errors into two lines and an exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwind, so that no scratch folder is left behind
    with reported_errors():
        app()
