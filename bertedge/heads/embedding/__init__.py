"""``embedding``: vectors of texts, made from the hidden states, or from the pooler's output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoding import Encoding
from bertedge.example import PAIR, Example
from bertedge.heads.embedding.vector_quantities import (
    FEWEST_TEXTS,
    Vectors,
    pair_similarities,
    quantities,
    shared_neighbours,
)
from bertedge.heads.embedding.vector_recipe import VECTOR_OPTIONS
from bertedge.heads.embedding.worst_vectors import LISTS, WorstVectors
from bertedge.heads.head import Arrays, GoldenArray, Head, Observed, Quantities
from bertedge.heads.structure import Structure
from bertedge.heads.verb import Argument, RowAnswers, Verb
from bertedge.metric import SHARE, GoalKind, Metric, mean, minus, quantile, spearman
from bertedge.pooling import SIMILARITIES, EmbeddingSettings, pool, pooling_of
from bertedge.predictor import HIDDEN_STATES, Batch, Outputs
from bertedge.tokenizer import Tokenizer

#: Relative to a vector's length; float32 sums in another order differ by as much.
RELATIVE_FLOOR = 1e-5
#: Columns of a file that hold the similarity of a pair.
SCORES = ("score", "label")


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


_TO_GOLD = spearman("similarity", "score", "is_pair")
METRICS = {
    **_vector_metrics("embedding", "text vectors"),
    "embedding.spearman": Metric(
        group="embedding",
        estimate=_TO_GOLD,
        better="higher",
        meaning="Spearman correlation of the similarities of labelled pairs with their scores",
    ),
    "embedding.spearman_drop": Metric(
        group="embedding",
        estimate=minus(spearman("reference_similarity", "score", "is_pair"), _TO_GOLD),
        better="lower",
        meaning="embedding.spearman of float minus the candidate's",
    ),
    "embedding.similarity_spearman": Metric(
        group="embedding",
        estimate=spearman("reference_similarity", "similarity", "is_pair"),
        better="higher",
        meaning="Spearman correlation of the similarities of labelled pairs with float's",
    ),
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

    def longest(self, settings: EmbeddingSettings | None) -> int | None:
        return None if settings is None else settings.max_seq_length

    def size(self, model: Structure) -> int:
        return model.config.hidden_size

    def read(self, batch: Batch, outputs: Outputs, settings: Any) -> Arrays:
        """``hidden`` (tokens, H), ``embedding`` (single texts, D), ``pooler`` (B, H), if the outputs have them."""
        found: Arrays = {}
        if outputs.hidden_states is not None:
            found["hidden"] = outputs.hidden_states[batch.attention_mask == 1]
            rows = np.flatnonzero(batch.single)
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
                values |= _pair_labels(batch, settings)
            groups[group] = Observed(values=values, rows=_rows(group, batch))
        return groups

    def keep(self, batch: Batch, expected: Arrays) -> Arrays:
        """Leaves out the states of single tokens, which take most memory and time."""
        return {group: vectors for group, vectors in expected.items() if group != "hidden"}

    def finish(self, group: str, values: Quantities) -> Quantities:
        """Adds the neighbours of each text, if there are enough texts, and the similarities of labelled pairs."""
        if group != "embedding":
            return values
        expected, got = values.pop("reference_vectors"), values.pop("vectors")
        pair, score, function = (values.pop(name) for name in ("pair", "score", "function"))
        values |= pair_similarities(expected, got, pair, score, SIMILARITIES[int(function[0])])
        if len(got) >= FEWEST_TEXTS:
            values["neighbours"] = shared_neighbours(expected, got)
        return values

    def target(self, example: Example, encoding: Encoding, settings: Any) -> NDArray[np.float64] | None:
        """(2,): how similar a pair is, and a number for the pair, which both of its texts have; None for other texts.

        Texts of a pair are encoded one by one; see :func:`bertedge.data.task_batches.encoded_examples`.
        """
        pair, value = example.values.get(PAIR), next((example.values[c] for c in SCORES if c in example.values), None)
        if pair is None or value is None:
            return None
        try:
            return np.array([float(value), float(pair)])
        except (TypeError, ValueError):
            return None  # a label in words says nothing about similarity

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        """The relative difference of the mean vector."""
        if among.hidden_states is None or alone.hidden_states is None:
            return None
        length, pair = int(batch.lengths[0]), (among.hidden_states[row], alone.hidden_states[0])
        here, there = (states[:length].mean(axis=0)[None] for states in pair)
        return float(quantities(there, here)["relative_error"][0])

    def worst(self, tokenizer: Tokenizer, settings: EmbeddingSettings | None) -> WorstVectors | None:
        """Of models whose files say how they make vectors; others are used for something else."""
        return None if settings is None else WorstVectors(tokenizer)

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
        GoalKind(
            option="max_spearman_drop",
            metric="embedding.spearman_drop",
            head="embedding",
            limits=SHARE,
            scale=0.002,
            help="Largest drop of the Spearman correlation on labelled pairs, against float.",
        ),
    ),
    budgets={
        "embedding.cosine_mean": {"max_drop": 0.002},
        "embedding.cosine_p01": {"max_drop": 0.01},
        "embedding.neighbours_at_10": {"max_drop": 0.02},
        "embedding.spearman_drop": {"max_drop": 0.005},
        "pooler.cosine_mean": {"max_drop": 0.005},
    },
    pipeline_tag="feature-extraction",
    verb=Verb(
        name="embed",
        method="encode",
        help="Print the vectors of texts, a line each.",
        arguments=(Argument(name="texts", help="Texts.", many=True),),
        options=VECTOR_OPTIONS,
        example=("She drank a cup of coffee in the kitchen.", "He made tea."),
        lines=_lines,
        to_json=lambda vectors: [vector.tolist() for vector in vectors],
        rows=RowAnswers(
            answers=lambda model, texts, **options: model.encode(texts, **options),
            names=("embedding",),
            types=(np.ndarray,),
            columns=lambda vector: (vector,),
        ),
    ),
    smooth_loss="embedding.relative_error",
    main_metric="embedding.cosine_mean",
    trade_offs={"embedding.cosine_mean": "cosine of vectors to float's"},
    over_length={"embedding.cosine_mean": "cosine of vectors to float's"},
    columns={"embedding.cosine_mean": "mean cosine"},
    losses={"embedding.cosine_mean": lambda value: f"its vectors have a mean cosine of {value:.4f} with float's"},
    kept={"embedding.spearman": "Spearman correlation"},
    lists=LISTS,
)


def _vector(states: Vectors, settings: EmbeddingSettings | None) -> Vectors:
    """The vector of a text without a prompt, (D,), from its states, (S, H)."""
    pooled = pool(states, pooling_of(settings))
    return pooled if settings is None else settings.vector(pooled)


def _pair_labels(batch: Batch, settings: EmbeddingSettings | None) -> Quantities:
    """The pair and the score of each single text, NaN where it has none, and the function that compares vectors."""
    rows = np.flatnonzero(batch.single)
    labels = batch.labels.get("embedding", np.full((len(batch.input_ids), 2), np.nan))[rows]
    function = settings.similarity if settings is not None else SIMILARITIES[0]
    return {
        "score": labels[:, 0],
        "pair": labels[:, 1],
        "function": np.full(len(rows), SIMILARITIES.index(function)),
    }


def _rows(group: str, batch: Batch) -> NDArray[np.int64]:
    """The row of the batch for each vector of a group, (N,)."""
    rows = np.arange(len(batch.input_ids))
    if group == "hidden":
        return np.repeat(rows, batch.lengths)
    return rows[batch.single] if group == "embedding" else rows
