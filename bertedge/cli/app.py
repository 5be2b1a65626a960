"""The ``bertedge`` command."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import bertedge
from bertedge.cli import (
    bench,
    check,
    compare,
    demo,
    emulation,
    hub_command,
    info_command,
    quantize_command,
    report,
    serve_command,
    train_command,
    tune_command,
    use,
)
from bertedge.cli.console import complain, set_volume, short_warnings
from bertedge.cli.layout import Command, Group, epilog, group_of
from bertedge.cli.streams import guard_streams

app = typer.Typer(
    name="bertedge",
    cls=Group,
    help="Small, fast and provably right int8 BERT on CPUs and ARM boards.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
#: The exit code of typer for Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT
#: Options of the app that may also come after the command.
VOLUME = ("--quiet", "--verbose")
#: typer has its own copy of click since 0.2x, and does not export this class.
ClickError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "quantize": quantize_command.quantize,
    "export": quantize_command.export,
    "tune": tune_command.tune,
    "bench": bench.bench,
    "compare": compare.compare,
    "report": report.report,
    "verify": check.verify,
    "emulator-setup": emulation.emulator_setup,
    "info": info_command.info,
    **use.VERBS,
    "serve": serve_command.serve,
    "push": hub_command.push,
    "pull": hub_command.pull,
    "train": train_command.train,
    "distill": train_command.distill,
}
for name, command in COMMANDS.items():
    app.command(name, cls=Command, epilog=epilog(name), rich_help_panel=group_of(name))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bertedge {bertedge.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print errors only: no progress, notes or warnings. For every command.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print on stderr what is loaded, and how. For every command.")
    ] = False,
) -> None:
    """Small, fast and provably right int8 BERT on CPUs and ARM boards."""
    set_volume(quiet=quiet, verbose=verbose)


def run(arguments: Sequence[str]) -> None:
    """Run a command.

    Raises:
        SystemExit: with an exit code other than 0, if the arguments are wrong or the command fails.
        KeyboardInterrupt: Ctrl-C.
        BertEdgeError: an error of the command, with a hint.
    """
    guard_streams()
    set_volume(quiet=False, verbose=False)
    with short_warnings():
        try:
            # in this mode typer raises errors; for Ctrl-C it raises Abort or returns a code, depending on its version
            code = app(_volume_first(arguments) or ["--help"], prog_name="bertedge", standalone_mode=False)
        except typer.Abort as abort:
            # typer raises Abort for Ctrl-C and for an unexpected end of file; the second is an ordinary error
            raise (abort.__cause__ if isinstance(abort.__cause__, EOFError) else KeyboardInterrupt) from None
        except ClickError as error:
            raise SystemExit(_wrong_usage(error)) from None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    sys.stdout.flush()  # so that a full disk is reported as an error
    if code:
        raise SystemExit(code)


def _volume_first(arguments: Sequence[str]) -> list[str]:
    """Move the options of the app to the front. Arguments after ``--`` are not options."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    found = [word for word in words[:end] if word in VOLUME]
    return found + [word for word in words[:end] if word not in VOLUME] + words[end:]


def _wrong_usage(error: Any) -> int:
    context = error.ctx.command_path if getattr(error, "ctx", None) else "bertedge"
    message = " ".join(error.format_message().split())
    complain(f"{message[:1].lower()}{message[1:].rstrip('.')}", f"{context} --help")
    return error.exit_code
