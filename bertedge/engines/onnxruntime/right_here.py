"""Whether int8 bundles for a target come out right on this machine: its CPU and its onnxruntime together."""

from __future__ import annotations

from bertedge.engines.onnxruntime.versions import is_new_enough, require_onnxruntime
from bertedge.target import Fit, TargetProfile, fit, require_fit, this_target


def is_right_here(target: TargetProfile) -> bool:
    """Whether they do."""
    here = this_target()
    return fit(target, here) is not Fit.wrong and is_new_enough(here.min_onnxruntime)


def require_right_here(name: str) -> None:
    """Refuse a bundle of a target if they do not; see :func:`bertedge.target.require_fit`.

    Raises:
        UnfitMachineError: its sums would overflow, or onnxruntime is too old for int8 on this CPU.
    """
    here = this_target()
    require_fit(name)
    require_onnxruntime(here.min_onnxruntime, f"int8 on this CPU ({here.name})")
