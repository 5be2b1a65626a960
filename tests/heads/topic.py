"""A head that bertedge does not have, in one file: which of two topics a text is about, from the pooler's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertedge.array_spec import ArraySpec
from bertedge.encoders import names
from bertedge.encoders.names import Shapes
from bertedge.heads import Head
from bertedge.heads.cases import Answer, Case, WorstList, passage, texts_of
from bertedge.heads.head import Arrays, GoldenArray, Observed
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.structure import Structure
from bertedge.heads.text_model import TextModel, row_of
from bertedge.heads.verb import Argument, RowAnswers, Verb
from bertedge.layers import Layer, Role
from bertedge.metric import SHARE, GoalKind, Metric, mean
from bertedge.predictor import Batch, Outputs
from bertedge.probabilities import answers, largest_change, softmax
from bertedge.tokenizer import Tokenizer

TOPICS = ("sea", "kitchen")


@dataclass(frozen=True, kw_only=True, eq=False)
class Topic(Head):
    """Logits (B, 2)."""

    name = "topic"

    def size(self, model: Structure) -> int:
        return len(TOPICS)

    def shapes(self, model: Structure) -> Shapes:
        return names.linear_shapes("classifier", len(TOPICS), model.config.hidden_size)

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        width, classes = model.config.hidden_size, len(TOPICS)
        owners = ("classifier",)
        return (Layer(name="topic", role=Role.CLASSIFIER, owners=owners, inputs=width, outputs=classes, reads="first"),)

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        return w.linear("topic", x)

    def read(self, batch: Batch, outputs: Outputs, settings: Any) -> Arrays:
        return {"logits": outputs.logits["topic"]} if "topic" in outputs.logits else {}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        values = {"equal": expected["logits"].argmax(axis=1) == answers(got["logits"])}
        return {"topic": Observed(values=values, rows=np.arange(len(batch.input_ids)))}

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if "topic" not in alone.logits:
            return None
        return largest_change(among.logits["topic"][row], alone.logits["topic"][0])

    def golden(self, settings: Any, *, pooler: bool) -> Mapping[str, GoldenArray]:
        return {"topic_probs": GoldenArray(spec=ArraySpec(dtype="float32", shape=("B", 2)), kind="probabilities")}

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: Any) -> Arrays:
        return {"topic_probs": softmax(outputs.logits["topic"])} if "topic" in outputs.logits else {}

    def worst(self, tokenizer: Tokenizer, settings: Any) -> WorstTopics:
        return WorstTopics(tokenizer)


class WorstTopics:
    """The texts whose probabilities differ most. The report draws any head's cases: what a head says is in them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._list = tokenizer, WorstList(above=1e-5)

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        """The arrays are those of ``read``."""
        one, other = (softmax(arrays["logits"]) for arrays in (expected, got))

        def case(row: int) -> Case:
            text = " ".join(texts_of(self._tokenizer, batch, row))
            both = [
                tuple(Answer(text=TOPICS[i], share=float(p[row, i])) for i in np.argsort(-p[row])) for p in (one, other)
            ]
            return Case(texts=(passage(text),), reference=both[0], candidate=both[1])

        self._list.add(np.abs(one - other).max(axis=1), case)

    def found(self) -> dict[str, tuple[Case, ...]]:
        """By the name of the list in :attr:`Topic.lists`."""
        return {"topic.texts": self._list.cases()}


class TopicMethod(TextModel):
    """Its method."""

    def topic(self, text: str) -> str:
        """What a text is about."""
        self._require("topic")
        rows = [row_of(self.tokenizer.encode(text))]
        return self.runner.run(rows, lambda result: TOPICS[int(result["topic"].argmax())])[0]


AGREEMENT = "topic.label_agreement"
TOPIC = Topic(
    words="topic",
    reads="first",
    outputs={"masked": "topic_logits", "all": "topic_logits"},
    needs_pooler=True,
    mark="classifier.weight",
    architecture="ForSequenceClassification",
    part_names={"topic": "topic head"},
    metrics={
        AGREEMENT: Metric(
            group="topic",
            estimate=mean("equal"),
            better="higher",
            meaning="share of texts with float's topic",
            bounds=(0, 1),
        )
    },
    goals=(
        GoalKind(
            option="min_topic_agreement",
            metric=AGREEMENT,
            head="topic",
            limits=SHARE,
            scale=0.01,
            help="Smallest share of texts with the same topic as float.",
        ),
    ),
    budgets={AGREEMENT: {"max_drop": 0.01}},
    smooth_loss=AGREEMENT,
    main_metric=AGREEMENT,
    trade_offs={AGREEMENT: "topic as in float"},
    over_length={AGREEMENT: "topic as in float"},
    columns={AGREEMENT: "topics"},
    lists={"topic.texts": "Topics"},
    losses={AGREEMENT: lambda value: f"{1 - value:.3f} of the topics differ"},
    pipeline_tag="text-classification",
    verb=Verb(
        name="topic",
        method="topic",
        help="Tell what a text is about.",
        arguments=(Argument(name="text", help="A text."),),
        example=("The ship sailed across the sea.",),
        lines=lambda answer: [answer],
        rows=RowAnswers(
            answers=lambda model, texts: [model.topic(text) for text in texts],
            names=("topic",),
            types=(str,),
            columns=lambda topic: (topic,),
        ),
    ),
)
