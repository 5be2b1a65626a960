"""The ``bertedge`` command."""

from __future__ import annotations

import typer

from bertedge.cli import train as train_command
from bertedge.cli.console import reported_errors

app = typer.Typer(
    name="bertedge",
    help="Small, fast and provably right int8 BERT on CPUs and ARM boards.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("train")(train_command.train)
app.command("distill")(train_command.distill)


def main() -> None:
    """Entry point: run a command, and turn its errors into two lines and an exit code."""
    with reported_errors():
        app()
