"""Progress of long work."""

from __future__ import annotations

from collections.abc import Callable

#: Called with the share that is done (0 to 1) and a description of the current step.
Listener = Callable[[float, str], None]


def no_progress(share: float, text: str) -> None:
    """Ignore progress: the default listener."""
