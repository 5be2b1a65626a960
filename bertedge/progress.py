"""How work that takes a while says how far it is."""

from __future__ import annotations

from collections.abc import Callable

#: Is given the share that is done (0 to 1) and what is being done.
Listener = Callable[[float, str], None]


def no_progress(share: float, text: str) -> None:
    """A listener that ignores everything."""
