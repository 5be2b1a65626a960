"""``ranking``: scores of how well a document fits a query (cross-encoders; Nogueira and Cho 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders.names import Shapes
from bertedge.encoding import Encoding
from bertedge.errors import CorpusError
from bertedge.example import Example
from bertedge.heads.classifier_layers import classifier_layers, classifier_shapes, dense_name, write_classifier
from bertedge.heads.head import Arrays, GoldenArray, Head, Observed, Quantities
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.labels import label_keys
from bertedge.heads.ranking.rank_quantities import order_quantities, queries_of
from bertedge.heads.ranking.rank_settings import LIBRARY, RankSettings, is_marked, is_ranker, rank_settings
from bertedge.heads.ranking.rerank import Ranked
from bertedge.heads.ranking.worst_rankings import PAIRS, SCORE_FLOOR, WorstRankings
from bertedge.heads.sequence_settings import SequenceSettings
from bertedge.heads.structure import Found, Structure
from bertedge.heads.verb import REQUIRED, Argument, Option, RowAnswers, Verb
from bertedge.layers import Layer
from bertedge.metric import ANY, SHARE, GoalKind, Metric, mean, mean_of_groups, minus
from bertedge.predictor import Batch, Outputs
from bertedge.printable import differences_in_words
from bertedge.probabilities import largest_label_change
from bertedge.tokenizer import Tokenizer
from bertedge.vector_modules import torch_class

NAME = "ranking"
#: Columns of a file that hold the relevance of a document.
COLUMNS = ("score", "label")
_GAIN, _REFERENCE_GAIN = (mean_of_groups(gain, "known_share") for gain in ("gain", "reference_gain"))

METRICS = {
    f"{NAME}.top1_agreement": Metric(
        group=NAME,
        estimate=mean_of_groups("top1", "share"),
        better="higher",
        meaning="share of queries with float's best document",
        bounds=(0, 1),
    ),
    f"{NAME}.kendall_tau": Metric(
        group=NAME,
        estimate=mean_of_groups("tau", "share"),
        better="higher",
        meaning="Kendall's tau of the order of a query's documents with float's, mean",
    ),
    f"{NAME}.score_mae": Metric(
        group=NAME,
        estimate=mean("score_diff"),
        better="lower",
        meaning="mean difference of the score from float's",
        floor=SCORE_FLOOR,
    ),
    f"{NAME}.ndcg_at_10": Metric(
        group=NAME, estimate=_GAIN, better="higher", meaning="NDCG of a query's ten best documents, mean"
    ),
    f"{NAME}.ndcg_at_10_drop": Metric(
        group=NAME,
        estimate=minus(_REFERENCE_GAIN, _GAIN),
        better="lower",
        meaning="ranking.ndcg_at_10 of float minus the candidate's",
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking(Head):
    """Logits (B, 1) of pairs of query and document."""

    name = NAME

    def is_in(self, found: Found) -> bool:
        return is_ranker(found)

    def read_settings(self, found: Found) -> RankSettings:
        return rank_settings(found)

    def warnings(self, found: Found) -> tuple[str, ...]:
        if is_marked(found):
            return ()
        return (
            "the classifier has one output and config.json names no problem_type, so it is a reranker of pairs; "
            'for a score of one text, add "problem_type": "regression"',
        )

    def about(self, settings: RankSettings) -> list[str]:
        length = "" if settings.max_length is None else f", up to {settings.max_length} tokens"
        return [f"a score of a query and a document ({settings.activation} of the output){length}"]

    def config_keys(self, settings: RankSettings) -> dict[str, Any]:
        """The labels of the classifier, and what sentence-transformers reads about a cross-encoder."""
        (only,) = settings.layers.classifiers
        library: dict[str, Any] = {"activation_fn": torch_class(settings.activation)}
        library |= {} if settings.max_length is None else {"max_seq_length": settings.max_length}
        return {**label_keys(only.labels), LIBRARY: library}

    def reads_pooler(self, settings: RankSettings) -> bool:
        return settings.layers.reads == "pooler"

    def reads_mean(self, settings: RankSettings) -> bool:
        return settings.layers.reads == "mean"

    def longest(self, settings: RankSettings | None) -> int | None:
        return None if settings is None else settings.max_length

    def size(self, model: Structure) -> int:
        return 1

    def shapes(self, model: Structure) -> Shapes:
        return classifier_shapes(model, model.settings.layers, model.settings.layers.last)

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        layers: SequenceSettings = model.settings.layers
        return classifier_layers(NAME, model, layers, layers.last, reads=layers.positions)

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        return write_classifier(w, NAME, model.settings.layers, x)

    def target(self, example: Example, encoding: Encoding, settings: RankSettings) -> NDArray[np.float32] | None:
        """(1,): the relevance of the second text; larger is more relevant."""
        value = next((example.values[column] for column in COLUMNS if example.values.get(column) is not None), None)
        if value is None or example.pair is None:
            return None
        try:
            return np.array([float(value)], dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise CorpusError(
                f"the relevance {str(value)[:60]!r} is not a number",
                "give a number: 0 for a document that does not fit",
            ) from error

    def read(self, batch: Batch, outputs: Outputs, settings: RankSettings) -> Arrays:
        """``scores`` of the pairs of the batch, (N,), and their ``rows``."""
        rows = np.flatnonzero(~batch.single)
        if NAME not in outputs.logits or not len(rows):
            return {}
        return {"scores": settings.scores(outputs.logits[NAME][rows]), "rows": rows}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: RankSettings) -> dict[str, Observed]:
        one, other, rows = expected["scores"], got["scores"], expected["rows"]
        unknown = np.full((len(batch.input_ids), 1), np.nan)
        values = {
            "score_diff": np.abs(one.astype(np.float64) - other),
            "reference_score": one,
            "score": other,
            "relevance": batch.labels.get(NAME, unknown)[rows, 0],
            "query": queries_of(batch)[rows],
        }
        return {NAME: Observed(values=values, rows=rows)}

    def together(self, group: str, values: Quantities) -> NDArray[np.int64]:
        """The documents of one query."""
        return values["query"]

    def finish(self, group: str, values: Quantities) -> Quantities:
        """Adds the quantities of each query, if there are queries with several documents."""
        expected, got = (values.pop(name).astype(np.float64) for name in ("reference_score", "score"))
        relevance, query = values.pop("relevance"), values.pop("query")
        right = None if np.isnan(relevance).all() else relevance
        return values | order_quantities(query, expected, got, right)

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if NAME not in among.logits or NAME not in alone.logits:
            return None
        here, there = among.logits[NAME][row], alone.logits[NAME][0]
        return largest_label_change(here, there)

    def golden(self, settings: RankSettings | None, *, pooler: bool) -> Mapping[str, GoldenArray]:
        return {"rank_scores": GoldenArray(spec=ArraySpec(dtype="float32", shape=("B", NAME)), kind="scores")}

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: RankSettings) -> Arrays:
        return {"rank_scores": outputs.logits[NAME].copy()} if NAME in outputs.logits else {}

    def worst(self, tokenizer: Tokenizer, settings: RankSettings | None) -> WorstRankings | None:
        return WorstRankings(tokenizer) if settings is not None else None


def _lines(documents: Iterable[Ranked]) -> Iterable[str]:
    for document in documents:
        yield f"{document.score:8.4f}  {document.text}"


RANKING = Ranking(
    words="ranking",
    reads="pair",
    outputs={"masked": "ranking_logits", "all": "logits"},
    settings_type=RankSettings,
    architecture="ForSequenceClassification",
    part_names={dense_name(NAME).replace(".", r"\."): "reranker's dense layer", NAME: "reranker"},
    metrics=METRICS,
    goals=(
        GoalKind(
            option="min_top1_agreement",
            metric=f"{NAME}.top1_agreement",
            head=NAME,
            limits=SHARE,
            scale=0.01,
            help="Smallest share of queries with the same best document as float.",
        ),
        GoalKind(
            option="max_score_error",
            metric=f"{NAME}.score_mae",
            head=NAME,
            limits=ANY,
            scale=0.01,
            help="Largest mean difference of a ranking score from float's.",
        ),
    ),
    budgets={
        f"{NAME}.top1_agreement": {"max_drop": 0.02},
        f"{NAME}.kendall_tau": {"max_drop": 0.02},
        f"{NAME}.score_mae": {"max_ratio": 1.25},
        f"{NAME}.ndcg_at_10_drop": {"max_drop": 0.01},
    },
    smooth_loss=f"{NAME}.score_mae",
    main_metric=f"{NAME}.score_mae",
    trade_offs={f"{NAME}.top1_agreement": "best document as in float", f"{NAME}.kendall_tau": "order as in float"},
    over_length={f"{NAME}.score_mae": "difference of scores from float"},
    columns={f"{NAME}.score_mae": "score error"},
    losses={
        f"{NAME}.top1_agreement": differences_in_words("best documents"),
        f"{NAME}.score_mae": lambda value: f"its scores differ by {value:.2g} on average",
    },
    kept={f"{NAME}.ndcg_at_10": "NDCG at 10"},
    lists={PAIRS: "Scores farthest from float's"},
    pipeline_tag="text-ranking",
    verb=Verb(
        name="rerank",
        method="rerank",
        help="Print documents in the order of their relevance to a query, with their scores.",
        arguments=(Argument(name="documents", help="Documents.", many=True),),
        options=(
            Option(name="query", kind=str, default=REQUIRED, help="The query.", gives="text"),
            Option(name="top", default=None, least=1, help="The most documents to print.", of_rows=False),
        ),
        example=("Mars is red.", "Venus is bright.", "--query", "red planet"),
        lines=_lines,
        to_json=lambda documents: [asdict(document) for document in documents],
        rows=RowAnswers(
            answers=lambda model, pairs: model.relevance(pairs),
            second="always",
            names=("score",),
            types=(float,),
            columns=lambda score: (score,),
        ),
    ),
)
