"""The reasons why layers do not have their method's plain format."""

from __future__ import annotations

from collections.abc import Mapping

from bertedge.graph.formats import Float16Weights, Float32, NumberFormat, TwoTermInt8
from bertedge.layers import KEPT
from bertedge.quantization.job import Decision, Job
from bertedge.recipe import matching

#: Formats that need more work or more bytes than plain int8, in words; other formats need no reason.
WORDS: dict[type[NumberFormat], str] = {
    Float32: "float32",
    Float16Weights: "float16",
    TwoTermInt8: "int8 with 16-bit activations",
}


def layer_reasons(job: Job, decision: Decision, promoted: Mapping[str, str]) -> dict[str, str]:
    """Every layer that is not in plain int8 -> its format and the reason.

    Args:
        promoted: promoted layer -> the measured effect.
    """
    recipe, patterns = job.recipe, dict[str, str]()
    finer = [(name, getattr(recipe.method, name), list(can)) for name, can in decision.finer.items()]
    for name, given, names in (*finer, ("float16", recipe.float16, job.names), ("exclude", recipe.exclude, job.names)):
        patterns |= {layer: f"{name}={pattern}" for layer, pattern in matching(name, given, names).items()}
    kept = {layer.name: KEPT[layer.role].why for layer in job.all_layers if layer.role in KEPT}
    reasons = {}
    for layer, form in _forms(job, decision).items():
        words = WORDS.get(type(form))
        if words is not None:
            why = promoted.get(layer) or patterns.get(layer) or kept.get(layer) or f"by the {_method(job)} method"
            reasons[layer] = f"{words}: {why}"
    return reasons


def _forms(job: Job, decision: Decision) -> dict[str, NumberFormat]:
    forms = {layer.name: decision.plan.get(layer.name, Float32()) for layer in job.all_layers}
    return forms | {table: forms[layer] for table, layer in job.sharing.items()}


def _method(job: Job) -> str:
    return job.recipe.method.name
