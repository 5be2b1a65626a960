"""The ``bertedge`` command, also as ``python -m bertedge``.

Nothing is imported here before ``main`` runs, so that Ctrl-C is answered from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

STOPPED = 128 + signal.SIGINT
#: A second Ctrl-C so soon after the first would cut short the clearing away that the first one started.
IMPATIENCE_S = 2.0


class Interrupt:
    """Ctrl-C as ``KeyboardInterrupt``, and whether there was one."""

    def __init__(self) -> None:
        self.pressed_at: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT."""
        now = time.monotonic()
        if self.pressed_at is None or now - self.pressed_at > IMPATIENCE_S:
            self.pressed_at = now
            raise KeyboardInterrupt


def main() -> None:
    """Run a command, and turn its errors into two lines and an exit code."""
    interrupt = Interrupt()
    try:
        _listen(interrupt)
        _use_utf8()
        from bertedge.cli.app import run

        run(sys.argv[1:])
    except KeyboardInterrupt:
        _stop()
    except Exception as error:
        if interrupt.pressed_at is not None:  # libraries in C make other errors of it, and child processes die of it
            _stop()
        from bertedge.cli.console import report

        raise SystemExit(report(error)) from None


def _listen(interrupt: Interrupt) -> None:
    """Unwind at every signal that asks for an end, so that no scratch folder is left; ``nohup`` and ``&`` stay."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, frame: sys.exit(128 + number))


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode where every letter beyond ASCII would be undecoded bytes.

    That is so in the C locale with ``PYTHONUTF8=0``: texts with an accent are then no Unicode, and no library opens a
    path with one. Processes that this one starts inherit the mode.
    """
    given = sys.argv[1:]
    started_so = sys.orig_argv[len(sys.orig_argv) - len(given) :] == given  # not called from another program
    tried = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() == "ascii" and sys.executable and started_so and not tried:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _stop() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is cleared away; the interpreter's own end takes a moment
    print("stopped", file=sys.stderr)
    raise SystemExit(STOPPED) from None


if __name__ == "__main__":
    main()
