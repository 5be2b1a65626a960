"""Engines, which run the models of bundles. A new engine is a file or folder here, and one row of :data:`ENGINES`."""

from __future__ import annotations

from dataclasses import dataclass, field

from bertedge.engines.engine import Engine, Executor
from bertedge.engines.native import NATIVE
from bertedge.engines.numpy import NUMPY
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.errors import BertEdgeError, MissingExtraError, UnfitMachineError, UsageError, nearest
from bertedge.manifest import Manifest

#: Engines by name. ``auto`` takes the first automatic one that computes the bundle correctly on this machine, unless it
#: would be slower than one below.
ENGINES: dict[str, Engine] = {engine.name: engine for engine in (NATIVE, ONNXRUNTIME, NUMPY)}
AUTO = "auto"

__all__ = ["AUTO", "ENGINES", "Choice", "Engine", "Executor", "choose_engine", "engine_named", "first_choice"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What ``auto`` chooses.

    Attributes:
        passed_over: name of an engine that is not taken -> why, a part of a sentence.
    """

    engine: Engine
    passed_over: dict[str, str] = field(default_factory=dict)


def engine_named(name: str) -> Engine:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"engine {name!r} is not known", nearest(name, [AUTO, *ENGINES]))
    return ENGINES[name]


def choose_engine(name: str, manifest: Manifest, *, allow_any_cpu: bool = False) -> Engine:
    """The engine of that name, or for ``auto`` that of :func:`first_choice`.

    Raises:
        UsageError: there is no engine of that name.
        UnfitMachineError: it cannot compute the bundle correctly on this machine; for ``auto``, no engine can.
    """
    if name != AUTO:
        engine = engine_named(name)
        engine.check(manifest, allow_any_cpu=allow_any_cpu)
        return engine
    return first_choice(manifest, allow_any_cpu=allow_any_cpu).engine


def first_choice(manifest: Manifest, *, allow_any_cpu: bool = False) -> Choice:
    """The engine that ``auto`` takes, and why it takes none of those above it in the table.

    Raises:
        UnfitMachineError: no engine computes the bundle correctly on this machine; the error is that of the last one.
    """
    refusals: list[BertEdgeError] = []
    correct: list[Engine] = []
    passed_over: dict[str, str] = {}
    for engine in ENGINES.values():
        if not engine.automatic:
            continue
        try:
            engine.check(manifest, allow_any_cpu=allow_any_cpu)
        except (UnfitMachineError, MissingExtraError, UsageError) as error:
            refusals.append(error)
            passed_over[engine.name] = error.message
            continue
        reason = engine.why_slow(manifest)
        if reason is None:
            return Choice(engine=engine, passed_over=passed_over)
        correct.append(engine)
        passed_over[engine.name] = reason
    if not correct:
        raise refusals[-1]
    passed_over.pop(correct[0].name)
    return Choice(engine=correct[0], passed_over=passed_over)
