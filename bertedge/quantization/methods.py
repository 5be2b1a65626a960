"""The table of quantization methods. A new method is one file with a planner, and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bertedge.checkpoint import Checkpoint
from bertedge.data.corpus import TokenizedCorpus
from bertedge.errors import UsageError, nearest
from bertedge.graph.plan import Plan
from bertedge.quantization import dynamic, static
from bertedge.recipe import QuantizationRecipe
from bertedge.target import TargetProfile

Listener = Callable[[float, str], None]
Planner = Callable[[Checkpoint, QuantizationRecipe, TargetProfile, TokenizedCorpus, Listener], Plan]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to quantize.

    Attributes:
        plan: decides on the number format of every layer.
        row_independent: rows of a batch do not share activation ranges.
    """

    plan: Planner
    row_independent: bool


METHODS = {
    "dynamic": Method(plan=dynamic.plan, row_independent=False),
    "static": Method(plan=static.plan, row_independent=True),
}


def method_named(name: str) -> Method:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in METHODS:
        raise UsageError(f"method {name!r} is not known", nearest(name, METHODS))
    return METHODS[name]
