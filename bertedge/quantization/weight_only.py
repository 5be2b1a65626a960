"""Weight-only: 4 or 8 bits in blocks for every matrix and the words' table. Activations need no ranges."""

from __future__ import annotations

from bertedge.errors import UsageError
from bertedge.graph.formats import MAX_EXACT_ROWS, BlockRows, BlockWeights, Int8Rows, NumberFormat, Plan
from bertedge.graph.rounding import NEAREST, Rounding, Roundings
from bertedge.layers import Layer, Role
from bertedge.quantization.calibrate import frequent_tokens, observe_products
from bertedge.quantization.job import Decision, Job, plan_of
from bertedge.recipe import BLOCK_SIZES, WeightOnly

#: Number of words whose rows are looked up exactly. They are more than half of a usual text.
EXACT_ROWS = MAX_EXACT_ROWS
#: Bits -> the oldest onnxruntime that has both operators; see :mod:`bertedge.graph.weight_blocks`.
MIN_ONNXRUNTIME = {4: "1.22", 8: "1.23"}


def decide(job: Job, method: WeightOnly) -> Decision:
    """Blocks for every matrix that is not excluded.

    Raises:
        UsageError: ranges are given, which this method does not use.
    """
    if job.ranges is not None:
        raise UsageError("--ranges: weight-only rounds no activations", "leave it out")
    plan, kept_float = _plan(job, method), job.kept_float()
    blocks = {form.block_size for form in plan.values() if isinstance(form, BlockWeights)}
    return Decision(
        plan={name: form for name, form in plan.items() if name not in kept_float},
        roundings=_roundings(job, method),
        warnings=_block_warnings(blocks, method),
        min_onnxruntime=MIN_ONNXRUNTIME[method.bits],
    )


def _plan(job: Job, method: WeightOnly) -> Plan:
    def format_of(layer: Layer) -> NumberFormat:
        size = fitting_block(method.block_size, layer.inputs, method.bits)
        if layer.role == Role.POSITION_TABLE:
            return Int8Rows()
        if layer.role == Role.WORD_TABLE:
            exact = frequent_tokens(job, method, EXACT_ROWS)
            return BlockRows(bits=method.bits, block_size=size, exact=exact)
        return BlockWeights(bits=method.bits, block_size=size)

    return plan_of(job.layers, format_of)


def fitting_block(wanted: int, inputs: int, bits: int) -> int:
    """The block size up to ``wanted`` with which a row takes the fewest bytes, padding included."""
    sizes = [size for size in BLOCK_SIZES if size <= wanted]
    return min(reversed(sizes), key=lambda size: -(-inputs // size) * (size * bits // 8 + 2))


def _roundings(job: Job, method: WeightOnly) -> Roundings:
    compensated = method.bits == 4 if method.rounding == "auto" else method.rounding == "compensated"
    products = observe_products(job, method) if compensated else {}

    def rounding(layer: str) -> Rounding:
        return products[layer].rounding() if layer in products else NEAREST

    return rounding


def _block_warnings(blocks: set[int], method: WeightOnly) -> tuple[str, ...]:
    """A warning if the width of the matrices does not fit the block size."""
    others = sorted(blocks - {method.block_size})
    if not others:
        return ()
    sizes = " and ".join(map(str, others))
    return (f"blocks of {sizes} instead of {method.block_size} in matrices whose rows would need padding",)
