"""``embedding``: vectors of texts, made from the hidden states, or from the pooler's output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.arrays import ArraySpec
from bertedge.heads.head import Arrays, GoldenArray, Head, Observed, Quantities
from bertedge.heads.structure import Structure
from bertedge.heads.vector_recipe import VECTOR_OPTIONS
from bertedge.heads.verb import Argument, Verb
from bertedge.metric import SHARE, GoalKind, Metric, mean, quantile
from bertedge.pooling import EmbeddingSettings, cosines, pool, pooling_of
from bertedge.predictor import HIDDEN_STATES, Batch, Outputs
from bertedge.vector_modules import TINY

Vectors = NDArray[np.float32]
#: Relative to a vector's length; float32 sums in another order differ by as much.
RELATIVE_FLOOR = 1e-5
#: Neighbours that are compared, and the fewest texts that are enough for a comparison.
NEIGHBOURS, FEWEST_TEXTS = 10, 30
#: Vectors that similarities are computed for at once.
CHUNK = 512


def _vector_metrics(group: str, what: str) -> dict[str, Metric]:
    """Metrics of the distance to float's vectors: by direction, and by the length of the difference."""
    return {
        f"{group}.cosine_mean": Metric(
            group=group, estimate=mean("cosine"), better="higher", meaning=f"cosine of {what} with float's, mean"
        ),
        f"{group}.cosine_p01": Metric(
            group=group,
            estimate=quantile("cosine", 0.01),
            better="higher",
            meaning=f"cosine of {what} with float's, first percentile",
        ),
        f"{group}.relative_error": Metric(
            group=group,
            estimate=mean("relative_error"),
            better="lower",
            meaning=f"|difference| over |float's| of {what}, mean",
            floor=RELATIVE_FLOOR,
        ),
    }


METRICS = {
    **_vector_metrics("embedding", "text vectors"),
    "embedding.neighbours_at_10": Metric(
        group="embedding",
        estimate=mean("neighbours"),
        better="higher",
        meaning="share of float's ten nearest texts among the ten nearest",
        bounds=(0, 1),
    ),
    **_vector_metrics("hidden", "hidden states"),
    **_vector_metrics("pooler", "pooler outputs"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TextEmbedding(Head):
    """Three groups: ``embedding``, one vector for each single text; ``hidden``, all states; ``pooler``, its output."""

    name = "embedding"

    @property
    def key(self) -> str:
        return HIDDEN_STATES

    def about(self, settings: EmbeddingSettings) -> list[str]:
        return settings.lines

    def size(self, model: Structure) -> int:
        return model.config.hidden_size

    def read(self, batch: Batch, outputs: Outputs, settings: Any) -> Arrays:
        """``hidden`` (tokens, H), ``embedding`` (single texts, D), ``pooler`` (B, H), if the outputs have them."""
        found: Arrays = {}
        if outputs.hidden_states is not None:
            found["hidden"] = outputs.hidden_states[batch.attention_mask == 1]
            rows = np.flatnonzero(is_single(batch))
            if len(rows):
                texts = (outputs.hidden_states[row, : batch.lengths[row]] for row in rows)
                found["embedding"] = np.stack([_vector(states, settings) for states in texts])
        if outputs.pooler_output is not None:
            found["pooler"] = outputs.pooler_output
        return found

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        groups = {}
        for group in (name for name in got if name in expected):
            values = quantities(expected[group], got[group])
            if group == "embedding":
                values |= {"reference_vectors": expected[group], "vectors": got[group]}
            groups[group] = Observed(values=values, rows=_rows(group, batch))
        return groups

    def keep(self, batch: Batch, expected: Arrays) -> Arrays:
        """Leaves out the states of single tokens, which take most memory and time."""
        return {group: vectors for group, vectors in expected.items() if group != "hidden"}

    def finish(self, group: str, values: Quantities) -> Quantities:
        """Adds the neighbours of each text, if there are enough texts."""
        if group != "embedding":
            return values
        expected, got = values.pop("reference_vectors"), values.pop("vectors")
        if len(got) >= FEWEST_TEXTS:
            values["neighbours"] = shared_neighbours(expected, got)
        return values

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        """The relative difference of the mean vector."""
        if among.hidden_states is None or alone.hidden_states is None:
            return None
        length, pair = int(batch.lengths[0]), (among.hidden_states[row], alone.hidden_states[0])
        here, there = (states[:length].mean(axis=0)[None] for states in pair)
        return float(quantities(there, here)["relative_error"][0])

    def golden(self, settings: Any, *, pooler: bool) -> Mapping[str, GoldenArray]:
        vectors = GoldenArray(spec=ArraySpec(dtype="float32", shape=("B", "H")), kind="vectors")
        return {"cls_state": vectors, "mean_state": vectors} | ({"pooler_output": vectors} if pooler else {})

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: Any) -> Arrays:
        states = outputs.hidden_states
        assert states is not None, "golden vectors are made of batches with hidden=True"
        means = (states.sum(axis=1) / batch.lengths[:, None]).astype(np.float32)
        pooled = {} if outputs.pooler_output is None else {"pooler_output": outputs.pooler_output}
        return {"cls_state": states[:, 0].copy(), "mean_state": means, **pooled}


def _lines(vectors: Sequence[Vectors]) -> Iterator[str]:
    """A line for each vector; with ``--pooling none`` for each token, and an empty line between texts."""
    for index, vector in enumerate(vectors):
        if vector.ndim > 1 and index:
            yield ""
        for row in np.atleast_2d(vector):
            yield " ".join(f"{number:.6g}" for number in row)


EMBEDDING = TextEmbedding(
    words="text vector",
    reads="every",
    in_every_model=True,
    settings_type=EmbeddingSettings,
    outputs={"masked": "hidden_states", "all": "last_hidden_state"},
    metrics=METRICS,
    max_change="max_vector_diff",
    goals=(
        GoalKind(
            option="min_cosine",
            metric="embedding.cosine_mean",
            head="embedding",
            limits=SHARE,
            scale=0.002,
            help="Smallest mean cosine of text vectors with float's.",
        ),
    ),
    budgets={
        "embedding.cosine_mean": {"max_drop": 0.002},
        "embedding.cosine_p01": {"max_drop": 0.01},
        "embedding.neighbours_at_10": {"max_drop": 0.02},
        "pooler.cosine_mean": {"max_drop": 0.005},
    },
    verb=Verb(
        name="embed",
        method="encode",
        help="Print the vectors of texts, a line each.",
        arguments=(Argument(name="texts", help="Texts.", many=True),),
        options=VECTOR_OPTIONS,
        example=("She drank a cup of coffee in the kitchen.", "He made tea."),
        lines=_lines,
        to_json=lambda vectors: [vector.tolist() for vector in vectors],
    ),
    smooth_loss="embedding.relative_error",
    main_metric="embedding.cosine_mean",
    trade_offs={"embedding.cosine_mean": "cosine of vectors to float's"},
    over_length={"embedding.cosine_mean": "cosine of vectors to float's"},
    columns={"embedding.cosine_mean": "mean cosine"},
    losses={"embedding.cosine_mean": lambda value: f"its vectors have a mean cosine of {value:.4f} with float's"},
)


def _vector(states: Vectors, settings: EmbeddingSettings | None) -> Vectors:
    """The vector of a text without a prompt, (D,), from its states, (S, H)."""
    pooled = pool(states, pooling_of(settings))
    return pooled if settings is None else settings.vector(pooled)


def quantities(expected: Vectors, got: Vectors) -> Quantities:
    """``cosine`` and ``relative_error`` = |got - expected| / |expected| of each row, from (N, H)."""
    errors = np.linalg.norm(got.astype(np.float64) - expected, axis=1)
    lengths = np.maximum(np.linalg.norm(expected.astype(np.float64), axis=1), TINY)
    return {"cosine": cosines(expected, got), "relative_error": errors / lengths}


def is_single(batch: Batch) -> NDArray[np.bool_]:
    """Which rows are single texts, (B,)."""
    if batch.second is not None:
        return batch.second[:, 0] == batch.second[:, 1]
    return ~((batch.token_type_ids == 1) & (batch.attention_mask == 1)).any(axis=1)


def shared_neighbours(expected: Vectors, got: Vectors) -> NDArray[np.float64]:
    """For each text, the share of its ten nearest by float that are among its ten nearest by the candidate, (N,).

    Nearest by cosine among all other texts; of equally near ones those that come first.

    Args:
        expected, got: a vector of each text, shape (N, D).
    """
    ours, theirs = (_unit(vectors) for vectors in (expected, got))
    shares = np.empty(len(expected))
    for start in range(0, len(expected), CHUNK):
        rows = slice(start, start + CHUNK)
        near = [_nearest(vectors[rows] @ vectors.T, start) for vectors in (ours, theirs)]
        shares[rows] = (near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean(axis=1)
    return shares * np.isfinite(got).all(axis=1)


def _rows(group: str, batch: Batch) -> NDArray[np.int64]:
    """The row of the batch for each vector of a group, (N,)."""
    rows = np.arange(len(batch.input_ids))
    if group == "hidden":
        return np.repeat(rows, batch.lengths)
    return rows[is_single(batch)] if group == "embedding" else rows


def _unit(vectors: Vectors) -> NDArray[np.float64]:
    exact = np.nan_to_num(vectors.astype(np.float64))
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), TINY)


def _nearest(similarities: NDArray[np.float64], start: int) -> NDArray[np.int64]:
    """(rows, NEIGHBOURS); a text is not its own neighbour."""
    rows = np.arange(len(similarities))
    similarities[rows, rows + start] = -np.inf
    return np.argsort(-similarities, axis=1, kind="stable")[:, :NEIGHBOURS]
