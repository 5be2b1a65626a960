"""The table of quantization methods. A new method is one file that decides on a plan, and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bertedge.errors import UsageError, nearest
from bertedge.quantization import dynamic, static
from bertedge.quantization.job import Decision, Job


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to quantize.

    Attributes:
        decide: decides on the number format of every layer.
        row_independent: rows of a batch do not share activation ranges.
    """

    decide: Callable[[Job], Decision]
    row_independent: bool


METHODS = {
    "dynamic": Method(decide=dynamic.decide, row_independent=False),
    "static": Method(decide=static.decide, row_independent=True),
}


def method_named(name: str) -> Method:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in METHODS:
        raise UsageError(f"method {name!r} is not known", nearest(name, METHODS))
    return METHODS[name]
