"""Golden vectors: inputs with what float and the bundle made of them at home, replayed wherever the bundle lands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import AGAIN, GOLDEN
from bertedge.errors import BundleError
from bertedge.predictor import NO_LABEL, Batch
from bertedge.runtime.bert_runtime import BertRuntime, softmax, top_indices
from bertedge.runtime.engine import Engine, Row

TOP = 16
BATCH_FIELDS = tuple(Batch.__dataclass_fields__)
#: A different CPU sums in a different order; anything larger than this is a different result.
TOLERANCE = 1e-3
#: States are compared relative to the largest of them, and are no probabilities.
STATE_TOLERANCE = 1e-2

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A replay of the golden vectors.

    Attributes:
        max_prob_diff: largest difference of a probability from what the bundle gave where it was made.
        max_state_diff: largest difference of a ``[CLS]`` state, relative to the largest state.
        top1_equal: whether every best word is the one it was.
        max_prob_diff_to_float: largest difference of a probability from the float model.
        passed: best words as they were, the differences within ``TOLERANCE`` and ``STATE_TOLERANCE``.
    """

    examples: int
    max_prob_diff: float
    max_state_diff: float
    top1_equal: bool
    max_prob_diff_to_float: float
    passed: bool


def record(engine: Engine, batch: Batch, top_ids: NDArray[np.int64] | None = None) -> Arrays:
    """Outputs on golden inputs, small enough to ship: the probabilities of the best words, NSP, the ``[CLS]`` state.

    Args:
        top_ids: the words whose probabilities are kept, (B, K, TOP); default: this engine's best.
    """
    outputs = engine.predict(batch)
    arrays: Arrays = {"cls_state": _cls_states(engine, batch)}
    if outputs.mlm_logits is not None:
        probabilities = softmax(outputs.mlm_logits)
        top_ids = top_indices(probabilities, TOP) if top_ids is None else top_ids
        filled = (batch.masked_labels != NO_LABEL)[..., None]
        arrays["top_ids"] = np.where(filled, top_ids, 0)
        arrays["top_probs"] = np.where(filled, np.take_along_axis(probabilities, top_ids, axis=-1), 0).astype(
            np.float32
        )
        arrays["best_ids"] = np.where(filled[..., 0], probabilities.argmax(axis=-1), 0)
    if outputs.nsp_logits is not None:
        arrays["nsp_probs"] = softmax(outputs.nsp_logits)
    return arrays


def write_golden(path: Path, batch: Batch, float_outputs: Arrays, bundle_outputs: Arrays) -> None:
    """Store inputs and both sides' outputs in one ``npz``."""
    arrays = {f"input.{name}": getattr(batch, name) for name in BATCH_FIELDS}
    arrays |= {f"float.{name}": array for name, array in float_outputs.items()}
    arrays |= {f"bundle.{name}": array for name, array in bundle_outputs.items()}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def verify(runtime: BertRuntime) -> Verification:
    """Replay the golden vectors of a loaded bundle.

    Raises:
        BundleError: ``golden.npz`` cannot be read.
    """
    batch, in_float, expected = _read(runtime.bundle.folder / GOLDEN)
    got = record(runtime.engine, batch, expected.get("top_ids"))
    to_float = record_difference(got, in_float) if _same_words(expected, in_float) else float("nan")
    prob, state = record_difference(got, expected), _relative(got["cls_state"], expected["cls_state"])
    top1_equal = "best_ids" not in got or bool(np.array_equal(got["best_ids"], expected["best_ids"]))
    return Verification(
        examples=len(batch.input_ids),
        max_prob_diff=prob,
        max_state_diff=state,
        top1_equal=top1_equal,
        max_prob_diff_to_float=to_float,
        passed=top1_equal and bool(prob <= TOLERANCE) and bool(state <= STATE_TOLERANCE),
    )


def record_difference(one: Arrays, other: Arrays) -> float:
    """Largest difference of any probability that both records hold."""
    both = [name for name in ("top_probs", "nsp_probs") if name in one and name in other]
    return max((float(np.abs(one[name] - other[name]).max(initial=0.0)) for name in both), default=0.0)


def _same_words(expected: Arrays, in_float: Arrays) -> bool:
    return "top_ids" not in expected or np.array_equal(expected["top_ids"], in_float["top_ids"])


def _relative(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))


def _cls_states(engine: Engine, batch: Batch) -> NDArray[np.float32]:
    none = np.zeros(0, dtype=np.int64)
    rows = [
        Row(input_ids=ids[:n], token_type_ids=segments[:n], masked_positions=none, hidden=True)
        for ids, segments, n in zip(batch.input_ids, batch.token_type_ids, batch.lengths, strict=True)
    ]
    return np.stack(engine.run(rows, lambda result: result["hidden_states"][0].copy()))


def _read(path: Path) -> tuple[Batch, Arrays, Arrays]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        batch = Batch(**{name: arrays[f"input.{name}"] for name in BATCH_FIELDS})
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: cannot be read ({error})", AGAIN) from error
    sides: dict[str, Arrays] = {"float": {}, "bundle": {}}
    for name, array in arrays.items():
        side, _, field = name.partition(".")
        if side in sides:
            sides[side][field] = array
    return batch, sides["float"], sides["bundle"]
