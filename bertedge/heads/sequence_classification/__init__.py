"""``sequence_classification``: labels or scores for whole texts (Devlin et al. 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders.names import Shapes
from bertedge.encoding import Encoding
from bertedge.example import Example
from bertedge.heads.classifier_layers import (
    classifier_layers,
    classifier_shapes,
    dense_name,
    has_classifier,
    write_classifier,
)
from bertedge.heads.head import Arrays, GoldenArray, Head, Observed
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.labels import about_labels, label_keys, listed
from bertedge.heads.ranking.rank_settings import is_ranker
from bertedge.heads.sequence_classification.classify import Classification, LabelScore
from bertedge.heads.sequence_classification.label_answers import answer_of, given_answer
from bertedge.heads.sequence_classification.label_metrics import METRICS, NAME
from bertedge.heads.sequence_classification.label_quantities import accuracy, fidelity
from bertedge.heads.sequence_classification.worst_labels import FLIPS, TEXTS, WorstLabels
from bertedge.heads.sequence_settings import PROBLEMS, SequenceSettings, sequence_settings
from bertedge.heads.structure import Found, Structure
from bertedge.heads.verb import Argument, Option, RowAnswers, Verb
from bertedge.layers import Layer
from bertedge.metric import ANY, SHARE, GoalKind
from bertedge.predictor import Batch, Outputs
from bertedge.printable import differences_in_words
from bertedge.probabilities import largest_label_change, largest_lead
from bertedge.tokenizer import Tokenizer

#: Kind of a classifier -> what it answers with, in words.
CHOICES = {"single": "one of", "multi": "any of", "regression": "scores of"}


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceClassification(Head):
    """Logits (B, C): the labels of all classifiers, one classifier after the other."""

    name = NAME

    def is_in(self, found: Found) -> bool:
        if found.classifiers:
            return True
        return has_classifier(found) and not is_ranker(found)

    def read_settings(self, found: Found) -> SequenceSettings:
        return sequence_settings(found)

    def about(self, settings: SequenceSettings) -> list[str]:
        return [
            f"{f'{one.name}: ' if one.name else ''}{CHOICES[one.problem]} {listed(one.labels)}"
            for one in settings.classifiers
        ]

    def warnings(self, found: Found) -> tuple[str, ...]:
        if found.classifiers:
            return ()
        return about_labels(found.raw, sequence_settings(found).size)

    def config_keys(self, settings: SequenceSettings) -> dict[str, Any]:
        """Labels and kind of problem of the only classifier; other tools do not know several classifiers."""
        if len(settings.classifiers) > 1:
            return {}
        (only,) = settings.classifiers
        told = next(name for name, problem in PROBLEMS.items() if problem == only.problem)
        return {**label_keys(only.labels), "problem_type": told}

    def reads_pooler(self, settings: SequenceSettings) -> bool:
        return settings.reads == "pooler"

    def reads_mean(self, settings: SequenceSettings) -> bool:
        return settings.reads == "mean"

    def size(self, model: Structure) -> int:
        return model.settings.size

    def shapes(self, model: Structure) -> Shapes:
        return classifier_shapes(model, model.settings, model.settings.last)

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        layers: SequenceSettings = model.settings
        return classifier_layers(NAME, model, layers, layers.last, reads=layers.positions)

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        return write_classifier(w, NAME, model.settings, x)

    def target(self, example: Example, encoding: Encoding, settings: SequenceSettings) -> NDArray[np.float32] | None:
        """(C,): 1 for a right label, 0 for another one; the score of a regression; NaN where it is unknown."""
        answers = np.full(settings.size, np.nan, dtype=np.float32)
        for classifier, place in settings.slices():
            value = given_answer(example, classifier)
            if value is not None:
                answers[place] = answer_of(value, classifier)
        return None if np.isnan(answers).all() else answers

    def read(self, batch: Batch, outputs: Outputs, settings: SequenceSettings) -> Arrays:
        return {"logits": outputs.logits[NAME]} if NAME in outputs.logits else {}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: SequenceSettings) -> dict[str, Observed]:
        """An observation for each text and classifier."""
        one, other = expected["logits"], got["logits"]
        groups = fidelity(one, other, settings)
        if NAME in batch.labels:
            groups |= accuracy(one, other, batch.labels[NAME], settings)
        return {name: Observed(values=values, rows=rows) for name, (values, rows) in groups.items() if len(rows)}

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if NAME not in among.logits or NAME not in alone.logits:
            return None
        here, there = among.logits[NAME][row], alone.logits[NAME][0]
        return largest_label_change(here, there)

    def golden(self, settings: SequenceSettings | None, *, pooler: bool) -> Mapping[str, GoldenArray]:
        spec = ArraySpec(dtype="float32", shape=("B", NAME))
        scores = settings is not None and all(one.problem == "regression" for one in settings.classifiers)
        arrays = {
            "class_probs": GoldenArray(spec=spec, kind="probabilities"),
            "class_scores": GoldenArray(spec=spec, kind="scores"),
        }
        if settings is None:
            return arrays
        return {name: array for name, array in arrays.items() if (name == "class_scores") == scores}

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: SequenceSettings) -> Arrays:
        if NAME not in outputs.logits:
            return {}
        logits = outputs.logits[NAME]
        parts = [one.probabilities(logits[:, place]) for one, place in settings.slices()]
        (name,) = self.golden(settings, pooler=False)
        return {name: np.concatenate(parts, axis=1).astype(np.float32)}

    def same_answers(
        self, batch: Batch, got: Arrays, expected: Arrays, settings: SequenceSettings | None
    ) -> NDArray[np.bool_] | None:
        if "class_probs" not in got or settings is None:
            return None
        mine, theirs = got["class_probs"], expected["class_probs"]
        same = [one.chosen(mine[:, place]) == one.chosen(theirs[:, place]) for one, place in settings.slices()]
        return np.concatenate([labels.all(axis=1) for labels in same])

    def worst(self, tokenizer: Tokenizer, settings: SequenceSettings | None) -> WorstLabels | None:
        return WorstLabels(tokenizer, settings) if settings is not None else None

    def lost_lead(self, got: Arrays, expected: Arrays, settings: SequenceSettings | None) -> float:
        lost = 0.0
        if "class_probs" not in got or settings is None:
            return lost
        for classifier, place in settings.slices():
            if classifier.problem == "single" and len(classifier.labels) > 1:
                mine, theirs = got["class_probs"][:, place], expected["class_probs"][:, place]
                lost = max(lost, largest_lead(theirs, mine.argmax(axis=1) != theirs.argmax(axis=1)))
        return lost


def _lines(answers: Iterable[Classification]) -> Iterable[str]:
    for index, answer in enumerate(answers):
        if index:
            yield ""
        for one in answer.scores:
            yield f"{one.score:8.4f}  {one.label}"


SEQUENCE_CLASSIFICATION = SequenceClassification(
    words="classification",
    reads="first",
    outputs={"masked": "sequence_classification_logits", "all": "logits"},
    settings_type=SequenceSettings,
    architecture="ForSequenceClassification",
    part_names={dense_name(NAME).replace(".", r"\."): "classifier's dense layer", NAME: "classifier"},
    metrics=METRICS,
    goals=(
        GoalKind(
            option="min_label_agreement",
            metric=f"{NAME}.label_agreement",
            head=NAME,
            limits=SHARE,
            scale=0.01,
            help="Smallest share of texts with the same label as float.",
        ),
        GoalKind(
            option="max_label_kl",
            metric=f"{NAME}.kl_mean",
            head=NAME,
            limits=ANY,
            scale=0.002,
            help="Largest mean KL divergence of the labels from float's, in nats.",
        ),
        GoalKind(
            option="max_accuracy_drop",
            metric=f"{NAME}.accuracy_drop",
            head=NAME,
            limits=SHARE,
            scale=0.005,
            help="Largest drop of the accuracy on labelled texts, against float.",
        ),
    ),
    budgets={
        f"{NAME}.label_agreement": {"max_drop": 0.01},
        f"{NAME}.kl_mean": {"max_ratio": 1.25},
        f"{NAME}.accuracy_drop": {"max_drop": 0.01},
    },
    smooth_loss=f"{NAME}.kl_mean",
    main_metric=f"{NAME}.label_agreement",
    trade_offs={f"{NAME}.label_agreement": "label as in float", f"{NAME}.accuracy": "texts labelled correctly"},
    over_length={f"{NAME}.label_agreement": "label as in float", f"{NAME}.kl_mean": "KL of labels from float, nats"},
    columns={f"{NAME}.label_agreement": "labels", f"{NAME}.kl_mean": "label KL"},
    losses={
        f"{NAME}.label_agreement": differences_in_words("labels"),
        f"{NAME}.score_mae": lambda value: f"its scores differ by {value:.2g} on average",
    },
    kept={f"{NAME}.accuracy": "accuracy"},
    answers="labels",
    lists={FLIPS: "Another label", TEXTS: "The same label: probabilities or scores farthest apart"},
    pipeline_tag="text-classification",
    verb=Verb(
        name="classify",
        method="classify",
        help="Print the labels of texts, with their probabilities.",
        arguments=(Argument(name="texts", help="Texts.", many=True),),
        options=(
            Option(name="top_k", default=5, least=1, help="The most labels of a text."),
            Option(
                name="pair", kind=str, default=None, help="A second text, for a model that judges pairs.", gives="pair"
            ),
            Option(
                name="classifier",
                kind=str,
                default=None,
                choices=lambda model: [one.name for one in model.head_settings.sequence_classification.classifiers],
                help="Which classifier, if the model has several.",
            ),
        ),
        example=("My card has not arrived.",),
        lines=_lines,
        rows=RowAnswers(
            answers=lambda model, items, **options: model.classify(items, **options),
            second="optional",
            names=("label", "score", "labels", "scores"),
            types=(str, float, list[str], list[LabelScore]),
            columns=lambda one: (one.label, one.score, list(one.labels), [asdict(score) for score in one.scores]),
        ),
    ),
)
