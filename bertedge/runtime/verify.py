"""``bertedge.verify``: whether a bundle is complete, and computes the same as on the machine that made it."""

from __future__ import annotations

from pathlib import Path

from bertedge.engines import AUTO
from bertedge.runtime import golden
from bertedge.runtime.bert_runtime import BertRuntime, load
from bertedge.runtime.golden import Verification


def verify(
    bundle: str | Path | BertRuntime, *, engine: str = AUTO, threads: int | None = None, allow_any_cpu: bool = False
) -> Verification:
    """Check a bundle's files, and replay its golden vectors on this CPU; ``passed`` says whether they match.

    Args:
        bundle: a folder; or a loaded bundle, whose files were checked when it was loaded.
        engine, threads, allow_any_cpu: see :func:`bertedge.load`.

    Raises:
        BundleError: the bundle is incomplete or altered.
        UnfitMachineError: the requested engine, or with ``auto`` every engine, is incorrect on this CPU.
    """
    if isinstance(bundle, BertRuntime):
        return golden.verify(bundle)
    return golden.verify(load(bundle, engine=engine, threads=threads, allow_any_cpu=allow_any_cpu))
