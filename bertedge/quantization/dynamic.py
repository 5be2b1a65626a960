"""Dynamic int8: the range of the activations is taken from each input at run time; nothing to calibrate."""

from __future__ import annotations

from bertedge.errors import UsageError
from bertedge.graph.plan import MLM_TRANSFORM, DynamicInt8, Float16Weights, NumberFormat
from bertedge.quantization.job import Decision, Job
from bertedge.recipe import Dynamic


def decide(job: Job, method: Dynamic) -> Decision:
    """int8 for every linear layer and table that is not excluded.

    Raises:
        UsageError: ranges are given, which this method does not have.
    """
    if job.ranges is not None:
        raise UsageError("--ranges: the dynamic method takes its ranges from every input", "--method static")
    kept_float = job.kept_float()
    forms: dict[str, NumberFormat] = {name: DynamicInt8(weight_range=job.target.weight_range) for name in job.layers}
    if MLM_TRANSFORM in forms:
        forms[MLM_TRANSFORM] = Float16Weights()
    return Decision(plan={name: form for name, form in forms.items() if name not in kept_float})
