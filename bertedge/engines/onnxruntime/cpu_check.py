"""Whether int8 bundles for a target are correct on this machine: its CPU and its onnxruntime together."""

from __future__ import annotations

from bertedge.engines.onnxruntime.versions import is_new_enough, require_onnxruntime
from bertedge.target import Fit, TargetProfile, fit, require_fit, this_target


def is_correct_here(target: TargetProfile) -> bool:
    """Whether onnxruntime computes bundles for a target correctly on this machine."""
    here = this_target()
    return fit(target, here) is not Fit.wrong and is_new_enough(here.min_onnxruntime)


def require_correct_here(target: str) -> None:
    """Refuse a target that onnxruntime computes incorrectly on this CPU; see :func:`bertedge.target.require_fit`.

    Raises:
        UnfitMachineError: sums would overflow, or onnxruntime is too old for int8 on this CPU.
    """
    require_fit(target)
    require_new_enough_for_int8()


def require_new_enough_for_int8() -> None:
    """Refuse an onnxruntime that is too old for int8 on this CPU.

    Raises:
        UnfitMachineError: it is too old.
    """
    here = this_target()
    require_onnxruntime(here.min_onnxruntime, f"int8 on this CPU ({here.name})")
