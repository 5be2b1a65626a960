"""The interface of engines, which run a bundle's model on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from bertedge.bundle import Bundle
from bertedge.cpu import Cpu
from bertedge.manifest import Manifest
from bertedge.predictor import Row, RowOutputs
from bertedge.target import require_fit
from bertedge.weight_range import WeightRange

T = TypeVar("T")
#: How the activations of int8 layers are rounded. ``graph``: as the bundle's graph says, often with ranges that
#: calibration found. ``per_token``: with the range of each token; see :mod:`bertedge.engines.plan_layers`.
Arithmetic = Literal["graph", "per_token"]


class Executor(Protocol):
    """A loaded model. It may be used from several threads at once, and after a fork."""

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run texts of any lengths; results come in the order of the rows.

        A row's result does not depend on the other rows. The engine decides how rows
        are grouped, padded or spread over cores.

        Args:
            read: makes the result from the outputs of a row, as soon as they are computed. So the outputs of
                thousands of rows are never in memory together. Engines may call it from several threads at once.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class NodeTime:
    """The time of one operator of the graph in each call, in milliseconds."""

    name: str
    op_type: str
    calls_ms: tuple[float, ...]

    @property
    def ms(self) -> float:
        """The median."""
        return float(np.median(self.calls_ms))


@runtime_checkable
class ProfilingExecutor(Executor, Protocol):
    """An executor that can time its operators."""

    def profile(self, rows: Sequence[Row], *, seconds: float) -> list[NodeTime]:
        """Run rows of one length as one batch, repeatedly for about ``seconds``, and time each operator."""
        ...


class Opener(Protocol):
    """The type of :attr:`Engine.open`."""

    def __call__(self, bundle: Bundle, *, threads: int, check: bool = True) -> Executor: ...


class Requirement(Protocol):
    """The type of :attr:`Engine.require`."""

    def __call__(self, manifest: Manifest, *, allow_any_cpu: bool = False) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way to compute bundles; a row of :data:`bertedge.engines.ENGINES`.

    Attributes:
        weight_range: the int8 weights that the engine multiplies on a CPU without overflow.
        require: raises UnfitMachineError if the engine cannot run a bundle on this machine for another reason than
            overflow, and MissingExtraError if a package is missing. ``allow_any_cpu`` skips the checks of the CPU.
        open: loads the model of a bundle. ``threads``: threads that one operator may use. ``check``: compare hashes
            again where a forked process opens the files again.
        describe: what the engine runs on this machine, for ``bertedge info``; a part of a sentence.
        arithmetic: see :data:`Arithmetic`. Golden vectors have the outputs of both.
        automatic: whether ``engine="auto"`` may choose it.
        why_slow: why ``auto`` should prefer an engine below, although this one is correct: a part of a sentence; None
            if it should not.
    """

    name: str
    weight_range: Callable[[Cpu], WeightRange]
    require: Requirement
    open: Opener
    describe: Callable[[], str]
    arithmetic: Arithmetic = "graph"
    automatic: bool = True
    why_slow: Callable[[Manifest], str | None] = lambda manifest: None

    def check(self, manifest: Manifest, *, allow_any_cpu: bool = False) -> None:
        """Refuse a bundle that the engine cannot compute correctly on this machine.

        Args:
            allow_any_cpu: do not refuse it because of the CPU.

        Raises:
            UnfitMachineError: int8 sums would overflow, or a library or the CPU does not fit.
            MissingExtraError: a package is missing.
        """
        self.require(manifest, allow_any_cpu=allow_any_cpu)
        if manifest.may_overflow and not allow_any_cpu:
            require_fit(manifest.target, self.weight_range)
