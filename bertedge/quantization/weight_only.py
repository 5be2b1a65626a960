"""Weight-only: 4 or 8 bits in blocks, for every matrix and for the words' table. Activations keep their own ranges."""

from __future__ import annotations

from bertedge.errors import UsageError
from bertedge.graph import plan as layers
from bertedge.graph.plan import BlockRows, BlockWeights, Float16Weights, Int8Rows, NumberFormat
from bertedge.graph.rounding import NEAREST, Rounding, Roundings
from bertedge.quantization.calibrate import frequent_pieces, observe_products
from bertedge.quantization.job import Decision, Job
from bertedge.recipe import BLOCK_SIZES, WeightOnly

#: Words whose rows are looked up with a correction: they fill more than half of any text.
EXACT_ROWS = layers.MAX_EXACT_ROWS
#: Bits -> the oldest onnxruntime that has both operators for them; see :mod:`bertedge.graph.blocks`.
MIN_ONNXRUNTIME = {4: "1.22", 8: "1.23"}


def decide(job: Job, method: WeightOnly) -> Decision:
    """Blocks for every matrix that is not excluded.

    Raises:
        UsageError: ranges are given, which this method does not have.
    """
    if job.ranges is not None:
        raise UsageError("--ranges: weight-only rounds no activations", "--method static")
    kept_float = job.kept_float()
    forms = _forms(job, method)
    blocks = {name: form.block_size for name, form in forms.items() if isinstance(form, BlockWeights)}
    return Decision(
        plan={name: form for name, form in forms.items() if name not in kept_float},
        roundings=_roundings(job, method),
        warnings=_block_warnings(blocks, method),
        min_onnxruntime=MIN_ONNXRUNTIME[method.bits],
    )


def _forms(job: Job, method: WeightOnly) -> dict[str, NumberFormat]:
    model, hidden = job.float_model, job.checkpoint.config.hidden_size
    size = fitting_block(method.block_size, hidden, method.bits)
    words = BlockRows(bits=method.bits, block_size=size, exact=frequent_pieces(job, method, EXACT_ROWS))
    forms: dict[str, NumberFormat] = {
        layers.WORD_TABLE: words,
        layers.POSITION_TABLE: Int8Rows(),
    }
    for name in layers.layer_names(job.checkpoint.config, job.checkpoint.heads):
        inputs = model.channels[model.layer_inputs[name]]
        size = fitting_block(method.block_size, inputs, method.bits)
        forms[name] = BlockWeights(bits=method.bits, block_size=size)
    if layers.MLM_TRANSFORM in forms:
        forms[layers.MLM_TRANSFORM] = Float16Weights()  # see layers.MLM_TRANSFORM
    return forms


def fitting_block(wanted: int, inputs: int, bits: int) -> int:
    """The block size, up to the one that is wanted, with which a row takes the fewest bytes: padding costs too."""
    sizes = [size for size in BLOCK_SIZES if size <= wanted]
    return min(reversed(sizes), key=lambda size: -(-inputs // size) * (size * bits // 8 + 2))


def _roundings(job: Job, method: WeightOnly) -> Roundings:
    compensated = method.bits == 4 if method.rounding == "auto" else method.rounding == "compensated"
    products = observe_products(job, method) if compensated else {}

    def rounding(layer: str) -> Rounding:
        return products[layer].rounding() if layer in products else NEAREST

    return rounding


def _block_warnings(blocks: dict[str, int], method: WeightOnly) -> tuple[str, ...]:
    """What became of the block size where the matrices' width does not fit it."""
    others = sorted({size for size in blocks.values() if size != method.block_size})
    if not others:
        return ()
    sizes = " and ".join(map(str, others))
    return (f"blocks of {sizes} instead of {method.block_size} where a row would have to be padded",)
