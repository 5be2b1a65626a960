"""The table of quantization methods. A new method is a dataclass in ``recipe``, a file here, and one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from bertedge.quantization import dynamic, static, weight_only
from bertedge.quantization.job import Decision, Job
from bertedge.recipe import Dynamic, Method, Static, WeightOnly


@dataclass(frozen=True, kw_only=True)
class Decider:
    """The functions and facts of a method.

    Attributes:
        decide: decides on the number format of every layer.
        row_independent: the result of a row does not depend on the other rows of its batch.
        depends_on_packing: onnxruntime computes with other kernels if it does not pack the weights.
    """

    decide: Callable[[Job, Any], Decision]
    row_independent: bool
    depends_on_packing: bool = False


DECIDERS: dict[type[Method], Decider] = {
    Dynamic: Decider(decide=dynamic.decide, row_independent=False),
    Static: Decider(decide=static.decide, row_independent=True),
    # a batch of one row uses another kernel, which rounds activations differently: 1e-3 of a probability
    WeightOnly: Decider(decide=weight_only.decide, row_independent=False, depends_on_packing=True),
}


def decide(job: Job) -> Decision:
    """Decide on the number format of every layer: by the recipe's method, and by the options of every method."""
    method = job.recipe.method
    decision = decider_of(method).decide(job, method)
    # the key leaves out options that name layers, since they do not change how weights are rounded
    options = {f.name: getattr(method, f.name) for f in fields(method) if f.name not in decision.finer}
    key = (job.recipe.held_out, job.positions, *options.items())
    roundings = job.cache.cached(decision.roundings, key)
    return replace(decision, roundings=roundings).with_float16(job.in_float16())


def decider_of(method: Method) -> Decider:
    """The row of a method in the table."""
    return DECIDERS[type(method)]
