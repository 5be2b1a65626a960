"""Dynamic int8: the range of the activations is taken from each input at run time, without calibration."""

from __future__ import annotations

from bertedge.errors import UsageError
from bertedge.graph.formats import DynamicInt8
from bertedge.quantization.job import Decision, Job, plan_of
from bertedge.recipe import Dynamic


def decide(job: Job, method: Dynamic) -> Decision:
    """int8 for every linear layer and table that is not excluded.

    Raises:
        UsageError: ranges are given, which this method does not use.
    """
    if job.ranges is not None:
        raise UsageError("--ranges: the dynamic method takes the range from each input at run time", "leave it out")
    kept_float = job.kept_float()
    form = DynamicInt8(weight_range=job.target.weight_range)
    plan = plan_of(job.layers, lambda layer: form)
    return Decision(plan={name: form for name, form in plan.items() if name not in kept_float})
