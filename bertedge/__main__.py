"""The ``bertedge`` command, also as ``python -m bertedge``.

No part of bertedge is imported before ``main`` runs, so that Ctrl-C works from the start.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

STOPPED = 128 + signal.SIGINT
#: A second Ctrl-C within these seconds is ignored, so that it does not interrupt the clean-up after the first one.
IMPATIENCE_S = 2.0
#: Seconds between two checks that the program really ends after SIGTERM.
AGAIN_S = 0.1


class Interrupted(KeyboardInterrupt):
    """Raised for Ctrl-C. Unlike ``KeyboardInterrupt``, it allows weak references."""


class Ended(SystemExit):
    """Raised for SIGTERM and SIGHUP. Unlike ``SystemExit``, it allows weak references."""


class Ending:
    """Raises :class:`Interrupted` for Ctrl-C and :class:`Ended` for SIGTERM and SIGHUP, and remembers the exit code.

    C code that calls Python, such as numpy, may drop the exception. Then it is raised again.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._pressed_at = -IMPATIENCE_S
        self._raised: Callable[[], BaseException | None] = lambda: None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the three signals."""
        if number == signal.SIGINT:
            last, self._pressed_at = self._pressed_at, time.monotonic()
            if self._pressed_at - last <= IMPATIENCE_S:
                return
        self.code = 128 + number
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.signal(signal.SIGALRM, self._ask_again)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        raise self._exception()

    def reached(self) -> None:
        """Stop the checks, because the command has ended."""
        if self.code is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ask_again(self, number: int, frame: FrameType | None) -> None:
        if self._raised() is None:  # the exception was dropped
            raise self._exception()

    def _exception(self) -> BaseException:
        # made here, because a local variable of the handler would keep the exception alive through its traceback
        made = Interrupted() if self.code == STOPPED else Ended(self.code)
        self._raised = weakref.ref(made)
        return made


def main() -> None:
    """Run a command. Errors become two lines on stderr and an exit code."""
    ending = Ending()
    try:
        _listen(ending)
        _use_utf8()
        from bertedge.cli.app import run

        run(sys.argv[1:])
    except KeyboardInterrupt:
        ending.reached()
        _stop()
    except Exception as error:
        ending.reached()
        if ending.code == STOPPED:  # C libraries turn Ctrl-C into other errors, and child processes end by it
            _stop()
        if ending.code is not None:  # the same for SIGTERM
            raise SystemExit(ending.code) from None
        from bertedge.cli.console import report

        raise SystemExit(report(error)) from None
    finally:
        ending.reached()


def _listen(ending: Ending) -> None:
    """Handle the signals that end a program, so that temporary files are removed. ``nohup`` and ``&`` still work."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, ending)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, ending)


def _use_utf8() -> None:
    """Restart in Python's UTF-8 mode if Python decodes text as ASCII.

    That happens in the C locale with ``PYTHONUTF8=0``. Text with accents is then not decoded, and libraries cannot
    open a path that has accents. Child processes inherit the mode.
    """
    given = sys.argv[1:]
    started_here = sys.orig_argv[len(sys.orig_argv) - len(given) :] == given  # not called from another program
    tried = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() == "ascii" and sys.executable and started_here and not tried:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _stop() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # clean-up is done; the interpreter needs some time to end
    print("stopped", file=sys.stderr)
    raise SystemExit(STOPPED) from None


if __name__ == "__main__":
    main()
