"""The table of quantization methods. A new one is a dataclass in ``recipe``, a file that decides, and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from bertedge.quantization import dynamic, static, weight_only
from bertedge.quantization.job import Decision, Job
from bertedge.recipe import Dynamic, Method, Static, WeightOnly


@dataclass(frozen=True, kw_only=True)
class Decider:
    """What carries a method out.

    Attributes:
        decide: decides on the number format of every layer.
        row_independent: a row of a batch comes out the same whatever is beside it.
        depends_on_packing: onnxruntime computes otherwise if it is kept from packing the weights.
    """

    decide: Callable[[Job, Any], Decision]
    row_independent: bool
    depends_on_packing: bool = False


DECIDERS: dict[type[Method], Decider] = {
    Dynamic: Decider(decide=dynamic.decide, row_independent=False),
    Static: Decider(decide=static.decide, row_independent=True),
    # one row takes another kernel than several do, which rounds the activations otherwise: 1e-3 of a probability
    WeightOnly: Decider(decide=weight_only.decide, row_independent=False, depends_on_packing=True),
}


def decide(job: Job) -> Decision:
    """What the job's recipe makes of its checkpoint: the method's decision, and what holds for every method."""
    method = job.recipe.method
    decision = decider_of(method).decide(job, method)
    # what names layers does not change how their weights are rounded
    options = {f.name: getattr(method, f.name) for f in fields(method) if f.name not in decision.finer}
    key = (job.recipe.held_out, job.positions, *options.items())
    remembering = job.memory.remembering(decision.roundings, key)
    return replace(decision, roundings=remembering).with_float16(job.in_float16())


def decider_of(method: Method) -> Decider:
    """The row of a method."""
    return DECIDERS[type(method)]
