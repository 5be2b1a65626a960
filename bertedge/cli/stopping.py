"""What a command says when a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def when_stopped(tell: Callable[[], None]) -> Iterator[None]:
    """Call a function if Ctrl-C or SIGTERM ends the block."""
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt | SystemExit) or _signal_came()):
            raise
        tell()
        # the frames hold the model; without them the exception ends fast, and is not taken for a dropped one meanwhile
        raise error.with_traceback(None) from None


def _signal_came() -> bool:
    """Whether the handler of ``bertedge.__main__`` was called: a library may have made another error of it."""
    handlers = (signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
    return any(getattr(handler, "code", None) is not None for handler in handlers)
