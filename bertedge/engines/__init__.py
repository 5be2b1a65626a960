"""Engines, which run the models of bundles. A new engine is a file or folder here, and one row of :data:`ENGINES`."""

from __future__ import annotations

from bertedge.engines.engine import Engine, Executor
from bertedge.engines.numpy import NUMPY
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.errors import BertEdgeError, MissingExtraError, UnfitMachineError, UsageError, nearest
from bertedge.manifest import Manifest

#: Engines by name. ``auto`` takes the first automatic one that computes the bundle correctly on this machine.
ENGINES: dict[str, Engine] = {engine.name: engine for engine in (ONNXRUNTIME, NUMPY)}
AUTO = "auto"

__all__ = ["AUTO", "ENGINES", "Engine", "Executor", "choose_engine", "engine_named"]


def engine_named(name: str) -> Engine:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"engine {name!r} is not known", nearest(name, [AUTO, *ENGINES]))
    return ENGINES[name]


def choose_engine(name: str, manifest: Manifest, *, allow_any_cpu: bool = False) -> Engine:
    """The engine of that name, or for ``auto`` the first one that computes the bundle correctly on this machine.

    Raises:
        UsageError: there is no engine of that name.
        UnfitMachineError: it cannot compute the bundle correctly on this machine; for ``auto``, no engine can.
    """
    if name != AUTO:
        engine = engine_named(name)
        engine.check(manifest, allow_any_cpu=allow_any_cpu)
        return engine
    refusals: list[BertEdgeError] = []
    for engine in ENGINES.values():
        if not engine.automatic:
            continue
        try:
            engine.check(manifest, allow_any_cpu=allow_any_cpu)
        except (UnfitMachineError, MissingExtraError) as error:
            refusals.append(error)
        else:
            return engine
    raise refusals[-1]
