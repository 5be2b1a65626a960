"""``bertedge.verify``: whether a bundle is what it was where it was made."""

from __future__ import annotations

from pathlib import Path

from bertedge.engines import AUTO
from bertedge.runtime import golden
from bertedge.runtime.bert_runtime import BertRuntime, load
from bertedge.runtime.golden import Verification


def verify(
    bundle: str | Path | BertRuntime, *, engine: str = AUTO, threads: int | None = None, allow_any_cpu: bool = False
) -> Verification:
    """Check a bundle's files, and replay its golden vectors on this CPU; ``passed`` says whether all is well.

    Args:
        bundle: its folder; or a loaded one, whose files were checked when it was loaded.
        engine, threads, allow_any_cpu: see :func:`bertedge.load`.

    Raises:
        BundleError: the bundle is incomplete or altered.
        UnfitMachineError: no engine, or not the one that was asked for, is correct on this CPU.
    """
    if isinstance(bundle, BertRuntime):
        return golden.verify(bundle)
    return golden.verify(load(bundle, engine=engine, threads=threads, allow_any_cpu=allow_any_cpu))
