"""Golden vectors: a few inputs, with the outputs of the float model and of the bundle on the machine that made it.

The bundle's outputs are recorded once for each arithmetic of the engines: those of its graph, by onnxruntime, and those
with activations that are rounded token by token, by :mod:`bertedge.engines.plan_model`. An engine is compared with the
outputs of its own arithmetic.

Any other machine runs the bundle on the same inputs and compares its outputs. They differ a little on a correct
machine too. Another kind of CPU adds floats in another order, which changes sums by a relative 1e-7. Among a million
activations some lie so close to the edge between two int8 steps that they are rounded to the other step, and this
changes further activations; probabilities can differ by 0.01. How much they differ depends on the model. So it is
measured when the bundle is made, by changing one float as much as another CPU would, and stored as the noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bertedge.array_spec import ArraySpec
from bertedge.arrays import read_arrays
from bertedge.bundle import GOLDEN, Bundle
from bertedge.engines.engine import Arithmetic
from bertedge.errors import BundleError
from bertedge.heads import HEADS
from bertedge.heads.head import GOLDEN_TOP, Arrays
from bertedge.heads.parts import Parts
from bertedge.manifest import AGAIN
from bertedge.plan import PLAN
from bertedge.pooling import cosines
from bertedge.predictor import LABELS, Batch, Predictor
from bertedge.runtime.bert_runtime import BertRuntime

#: Largest number of examples in a file, which limits the memory that a damaged or hostile file can take.
MOST_EXAMPLES = 64
#: Arrays below ``input.``; those of labels are named ``labels.<head>``. B examples, S tokens, K masked positions, V
#: tokens of the vocabulary, H hidden size.
INPUTS = {
    "input_ids": ArraySpec(dtype="int64", shape=("B", "S"), below="V"),
    "attention_mask": ArraySpec(dtype="int64", shape=("B", "S"), below=2),
    "token_type_ids": ArraySpec(dtype="int64", shape=("B", "S"), below="SEGMENTS"),
    "masked_positions": ArraySpec(dtype="int64", shape=("B", "K"), below="S"),
    "masked_counts": ArraySpec(dtype="int64", shape=("B",)),
} | {f"{LABELS}{name}": head.labels for name, head in HEADS.items() if head.labels is not None}
#: Arithmetic -> the prefixes of the bundle's outputs and of their noise.
RECORDS: dict[Arithmetic, tuple[str, str]] = {"graph": ("bundle", "noise"), "per_token": ("per_token", "token_noise")}
#: Arrays below the prefix of a noise.
NOISE = {"prob": ArraySpec(dtype="float64", shape=()), "state": ArraySpec(dtype="float64", shape=())}
#: The largest difference of a probability that is allowed without noise.
TOLERANCE = 1e-3
#: The largest difference of a vector that is allowed without noise, relative to its largest value.
STATE_TOLERANCE = 1e-2
#: Differences up to this many times the noise are allowed: the noise is the largest of a few trials, and another CPU
#: may give a larger one.
NOISE_FACTOR = 2.0


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outputs on golden inputs on this machine, compared with those of the machine that made the bundle.

    Attributes:
        max_prob_diff: largest difference of a probability; None for a model without probabilities.
        tolerance: the largest difference that rounding explains.
        max_state_diff: largest difference of a vector (the ``[CLS]`` state, the mean state, the pooler's output),
            relative to the largest value.
        state_tolerance: the largest difference that rounding explains.
        top1_equal: whether all best answers (words, labels ...) are the same.
        lost_lead: of the best answers that differ, the largest lead that the expected one had; 0 if none differs.
        max_prob_diff_to_float: largest difference of a probability from the float model; None if there is none, or if
            the probabilities of float's best words are not stored.
        min_cosine_to_float: smallest cosine of a vector with the float model's.
        passed: all differences are within tolerance, and so is the lead of each best answer that differs.
    """

    examples: int
    max_prob_diff: float | None
    tolerance: float
    max_state_diff: float
    state_tolerance: float
    top1_equal: bool
    lost_lead: float
    max_prob_diff_to_float: float | None
    min_cosine_to_float: float
    passed: bool

    @property
    def differences(self) -> str:
        """How much the outputs differ, in words."""
        vectors = f"vectors by {self.max_state_diff:.2g} ({self.state_tolerance:.2g} is allowed)"
        if self.max_prob_diff is None:
            return vectors
        return f"probabilities by {self.max_prob_diff:.2g} ({self.tolerance:.2g} is allowed), {vectors}"

    @property
    def words(self) -> str:
        """Whether the best answers are the same, in words."""
        if self.top1_equal:
            return "as on the machine that made it"
        if self.lost_lead <= self.tolerance:
            return f"as on the machine that made it, except for near ties (up to {self.lost_lead:.2g})"
        return "DIFFERENT from the machine that made it"


def record(model: Predictor, batch: Batch, parts: Parts, given: Arrays | None = None) -> Arrays:
    """Outputs on golden inputs, small enough to ship; see :meth:`bertedge.heads.Head.record`.

    Args:
        given: an earlier record, such as float's: the best words in it are looked up in this model's outputs.
    """
    outputs = model.predict(replace(batch, hidden=True))
    arrays: Arrays = {}
    for head in HEADS.values():
        arrays |= head.record(batch, outputs, given or {}, parts.settings_of(head.name))
    return arrays


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The outputs of a bundle in one arithmetic.

    Attributes:
        trials: its outputs with one float changed as much as another CPU would change it.
    """

    outputs: Arrays
    trials: Sequence[Arrays] = ()

    @property
    def noise(self) -> Arrays:
        """The largest differences of the trials."""
        moved = [record_difference(trial, self.outputs) or 0.0 for trial in self.trials]
        states = [_state_difference(trial, self.outputs) for trial in self.trials]
        return {"prob": np.array(max(moved, default=0.0)), "state": np.array(max(states, default=0.0))}


def write_golden(path: Path, batch: Batch, float_outputs: Arrays, recorded: Mapping[Arithmetic, Recorded]) -> None:
    """Store the inputs, the outputs of both models and the noise in one ``npz``."""
    parts = {"input": batch.arrays(), "float": float_outputs}
    for arithmetic, made in recorded.items():
        outputs, noise = RECORDS[arithmetic]
        parts |= {outputs: made.outputs, noise: made.noise}
    arrays: Arrays = {f"{part}.{name}": array for part, own in parts.items() for name, array in own.items()}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def recorded_in(bundle: Bundle) -> dict[Arithmetic, tuple[str, str]]:
    """The rows of :data:`RECORDS` that a bundle has: without ``plan.json``, only onnxruntime can read it."""
    return {name: row for name, row in RECORDS.items() if name == "graph" or PLAN in bundle.manifest.files}


def tolerance_of(bundle: Bundle) -> float:
    """The largest difference of a probability that rounding explains, in the arithmetic of the graph.

    Raises:
        BundleError: ``golden.npz`` cannot be read.
    """
    _, sides = _read(bundle)
    return _tolerances(sides["noise"])[0]


def verify(runtime: BertRuntime) -> Verification:
    """Replay the golden vectors of a loaded bundle, and compare them with the outputs of its engine's arithmetic.

    Raises:
        BundleError: ``golden.npz`` cannot be read.
    """
    batch, sides = _read(runtime.bundle)
    in_float, (expected, noise) = sides["float"], (sides[name] for name in RECORDS[runtime.engine.arithmetic])
    parts = runtime.bundle.manifest.parts
    got = record(runtime, batch, parts, expected)
    to_float = record_difference(got, in_float) if _same_ids(expected, in_float) else None
    prob, state = record_difference(got, expected), _state_difference(got, expected)
    tolerance, state_tolerance = _tolerances(noise)
    lost_lead = max(head.lost_lead(got, expected, parts.settings_of(head.name)) for head in HEADS.values())
    return Verification(
        examples=len(batch.input_ids),
        max_prob_diff=prob,
        tolerance=tolerance,
        max_state_diff=state,
        state_tolerance=state_tolerance,
        top1_equal=lost_lead == 0,
        lost_lead=lost_lead,
        max_prob_diff_to_float=to_float,
        min_cosine_to_float=min_cosine(got, in_float),
        passed=bool((prob is None or prob <= tolerance) and state <= state_tolerance and lost_lead <= tolerance),
    )


def _tolerances(noise: Arrays) -> tuple[float, float]:
    """The largest differences of a probability and of a vector that rounding explains."""
    prob, state = float(noise["prob"]), float(noise["state"])
    return max(TOLERANCE, NOISE_FACTOR * prob), max(STATE_TOLERANCE, NOISE_FACTOR * state)


def record_difference(one: Arrays, other: Arrays) -> float | None:
    """Largest difference of any probability that both records hold; None if they hold none."""
    both = [name for name in _named("probabilities") if name in one and name in other]
    differences = [np.abs(one[name] - other[name]).max(initial=0.0) for name in both]
    return float(np.max(differences)) if differences else None  # max() would ignore NaN


def min_cosine(one: Arrays, other: Arrays) -> float:
    """Smallest cosine of a vector in one record with its counterpart in the other; NaN if one is not finite."""
    both = [(one[name], other[name]) for name in _named("vectors") if name in one and name in other]
    return float(np.min([cosines(mine, its).min() for mine, its in both]))


def _named(kind: str) -> list[str]:
    """The arrays of a kind, of all heads; see :class:`bertedge.heads.head.GoldenArray`."""
    arrays = (head.golden(None, pooler=True) for head in HEADS.values())
    return [name for golden in arrays for name, array in golden.items() if array.kind == kind]


def _same_ids(expected: Arrays, in_float: Arrays) -> bool:
    """Whether both records hold probabilities of the same tokens."""
    return all(np.array_equal(expected[name], in_float[name]) for name in _named("given ids") if name in expected)


def relative_difference(got: Arrays, expected: Arrays, kind: str) -> float | None:
    """Largest difference of vectors or scores, relative to the largest expected value; None if there are none."""
    both = [(got[name], expected[name]) for name in _named(kind) if name in got and name in expected]
    largest = [np.abs(mine - its).max() / max(float(np.abs(its).max()), 1e-12) for mine, its in both]
    return float(np.max(largest)) if largest else None


def _state_difference(got: Arrays, expected: Arrays) -> float:
    """See :attr:`Verification.max_state_diff`."""
    return max(relative_difference(got, expected, kind) or 0.0 for kind in ("vectors", "scores"))


def _read(bundle: Bundle) -> tuple[Batch, dict[str, Arrays]]:
    """Read the inputs, and the other arrays by their prefix: ``float``, and those of :data:`RECORDS`.

    Raises:
        BundleError: the file is missing or damaged, or belongs to another model.
    """
    path, config = bundle.folder / GOLDEN, bundle.config
    sizes: dict[str, int | range] = {
        "B": range(1, MOST_EXAMPLES + 1),
        "S": range(1, config.max_length + 1),
        "K": range(config.max_length + 1),
        "V": config.vocab_size,
        "H": config.hidden_size,
        "SEGMENTS": max(config.type_vocab_size, 2),
        "TOP": min(GOLDEN_TOP, config.vocab_size),
    }
    model = bundle.manifest.parts
    rows = [head for head in HEADS.values() if model.has(head.name)]
    golden = [head.golden(model.settings_of(head.name), pooler=model.pooler) for head in rows]
    sizes |= {head.name: head.size(model.structure(head.name, config)) for head in rows}
    outputs = {name: array.spec for arrays in golden for name, array in arrays.items()}
    parts = {"input": INPUTS, "float": outputs}
    for recorded, noise in recorded_in(bundle).values():
        parts |= {recorded: outputs, noise: NOISE}
    schema = {f"{part}.{name}": spec for part, specs in parts.items() for name, spec in specs.items()}
    arrays = read_arrays(path, schema, sizes, error=BundleError, hint=AGAIN)
    sides: dict[str, Arrays] = {part: {} for part in parts}
    for name, array in arrays.items():
        part, _, field = name.partition(".")
        sides[part][field] = array
    batch = Batch.of(sides.pop("input"))
    _check(path, batch)
    for _, noise in recorded_in(bundle).values():
        _check_noise(path, noise, sides[noise])
    _require_finite(path, sides["float"])
    return batch, sides


def _require_finite(path: Path, in_float: Arrays) -> None:
    """Refuse NaN: a comparison with NaN is never true, so any output would pass."""
    for name, array in in_float.items():
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: float.{name} holds values that are not finite", AGAIN)


def _check(path: Path, batch: Batch) -> None:
    """Check what the schema of single arrays cannot: how the arrays fit each other."""
    lengths = batch.lengths[:, None]
    if not np.array_equal(batch.attention_mask, np.arange(batch.input_ids.shape[1]) < lengths) or lengths.min() < 1:
        raise BundleError(f"{path}: input.attention_mask does not mask the end of each row only", AGAIN)
    counts = batch.masked_counts
    if counts is None or counts.min() < 0 or counts.max() > batch.masked_positions.shape[1]:
        raise BundleError(f"{path}: input.masked_counts does not fit input.masked_positions", AGAIN)
    if (batch.masked_positions >= lengths).any():
        raise BundleError(f"{path}: input.masked_positions has a position after the end of its text", AGAIN)


def _check_noise(path: Path, prefix: str, noise: Arrays) -> None:
    for name, value in noise.items():
        if not 0 <= value < math.inf:
            raise BundleError(f"{path}: {prefix}.{name} is {value}, expected 0 or more", AGAIN)
