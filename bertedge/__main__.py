"""The ``bertedge`` command, also as ``python -m bertedge``.

Nothing is imported here before ``main`` runs, so that Ctrl-C is answered from the first moment on.
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
#: A second Ctrl-C so soon after the first would cut short the clearing away that the first one started.
IMPATIENCE_S = 2.0
#: After so long it is looked whether the end that was asked for is under way.
AGAIN_S = 0.1


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


class Ended(SystemExit):
    """The end that SIGTERM or SIGHUP asks for; unlike ``SystemExit`` it can be referred to weakly."""


class End:
    """SIGTERM and SIGHUP as :class:`Ended`, and the exit code, if one was asked for.

    C code that calls Python, such as numpy's, may drop an exception that it does not expect. Then it is raised again.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._raised: Callable[[], Ended | None] = lambda: None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of both."""
        self.code = 128 + number
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.signal(signal.SIGALRM, self._ask_again)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        raise self._ended()

    def reached(self) -> None:
        """Nothing is to be asked again: the command is at its end."""
        if self.code is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ask_again(self, number: int, frame: FrameType | None) -> None:
        if self._raised() is None:  # nothing unwinds any more
            raise self._ended()

    def _ended(self) -> Ended:
        # in a function of its own: a local name in the handler's frame would keep it alive by its own traceback
        ended = Ended(self.code)
        self._raised = weakref.ref(ended)
        return ended


def main() -> None:
    """Run a command, and turn its errors into two lines and an exit code."""
    interrupt, end = Interrupt(), End()
    try:
        _listen(interrupt, end)
        _use_utf8()
        from bertedge.cli.app import run

        run(sys.argv[1:])
    except KeyboardInterrupt:
        _stop()
    except Exception as error:
        if interrupt.pressed_at is not None:  # libraries in C make other errors of it, and child processes die of it
            _stop()
        if end.code is not None:  # likewise
            raise SystemExit(end.code) from None
        from bertedge.cli.console import report

        raise SystemExit(report(error)) from None
    finally:
        end.reached()


def _listen(interrupt: Interrupt, end: End) -> None:
    """Unwind at every signal that asks for an end, so that no scratch folder is left; ``nohup`` and ``&`` stay."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


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
