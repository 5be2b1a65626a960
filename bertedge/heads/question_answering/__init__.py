"""``question_answering``: which part of a context answers a question (Devlin et al. 2019, sections 4.2 and 4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders import encoder_of
from bertedge.encoders.names import Shapes
from bertedge.encoding import Encoding
from bertedge.example import Example
from bertedge.heads.cases import Worst
from bertedge.heads.classifier_layers import classifier_layers, classifier_shapes, dense_name, write_classifier
from bertedge.heads.head import Arrays, GoldenArray, Head, Observed, Quantities
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.question_answering.answer_quantities import accuracy, fidelity
from bertedge.heads.question_answering.answer_spans import LONGEST_ANSWER, Answer
from bertedge.heads.question_answering.right_answers import given_answers, marked
from bertedge.heads.question_answering.worst_answers import LISTS, WorstAnswers
from bertedge.heads.structure import Found, Structure
from bertedge.heads.verb import REQUIRED, Option, RowAnswers, Verb
from bertedge.layers import Layer
from bertedge.metric import KL_FLOOR, PROBABILITY_FLOOR, SHARE, GoalKind, Metric, difference, mean
from bertedge.predictor import Batch, Outputs
from bertedge.printable import differences_in_words
from bertedge.probabilities import largest_change, largest_lead, softmax
from bertedge.texts import Pair
from bertedge.tokenizer import Tokenizer

NAME = "question_answering"
DENSE = dense_name(NAME)
PROBABILITIES = "answer_probs"
#: Observations of questions whose right answer is known.
LABELLED = f"{NAME}.labelled"
#: The prefix of the last layer's tensors, in all families but those that use their classifier of texts here too.
OWNER = "qa_outputs"
#: Quantities of labelled questions, for a model that may, or may not, say that there is no answer.
HITS = ("reference_exact", "exact", "reference_f1", "f1")

METRICS = {
    f"{NAME}.span_agreement": Metric(
        group=NAME,
        estimate=mean("equal"),
        better="higher",
        meaning="share of questions with float's answer, token for token",
        bounds=(0, 1),
    ),
    f"{NAME}.f1_between": Metric(
        group=NAME,
        estimate=mean("f1"),
        better="higher",
        meaning="F1 of the tokens of both answers, float's and the candidate's, mean",
    ),
    f"{NAME}.kl_mean": Metric(
        group=NAME,
        estimate=mean("kl"),
        better="lower",
        meaning="KL(float || candidate) of the answer's first token plus that of its last one, in nats, mean",
        floor=KL_FLOOR,
    ),
    f"{NAME}.prob_mae": Metric(
        group=NAME,
        estimate=mean("prob_diff"),
        better="lower",
        meaning="mean difference of the probability of float's answer",
        floor=PROBABILITY_FLOOR,
    ),
    f"{NAME}.exact_match": Metric(
        group=LABELLED,
        estimate=mean("exact"),
        better="higher",
        meaning="share of questions with exactly the tokens of a right answer",
        bounds=(0, 1),
    ),
    f"{NAME}.f1": Metric(
        group=LABELLED,
        estimate=mean("f1"),
        better="higher",
        meaning="F1 of the answer's tokens and those of the most similar right answer, mean",
    ),
    f"{NAME}.f1_drop": Metric(
        group=LABELLED,
        estimate=difference("reference_f1", "f1"),
        better="lower",
        meaning="question_answering.f1 of float minus the candidate's",
    ),
}


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """The layers of a head that finds answers.

    Attributes:
        owner: the prefix of the last layer's tensors.
        dense: that of a dense layer in front of it; None if there is none.
        activation: the function after the dense layer.
        norm: the prefix of a layer norm after that; None if there is none.
    """

    owner: str = OWNER
    dense: str | None = None
    activation: str | None = None
    norm: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class QuestionAnswering(Head):
    """Logits (B, S, 2) of every position: that an answer starts there, and that it ends there."""

    name = NAME

    def is_in(self, found: Found) -> bool:
        return f"{OWNER}.weight" in found.tensors or found.is_for("ForQuestionAnswering") is True

    def read_settings(self, found: Found) -> AnswerSettings:
        family = encoder_of(found.config).classifier
        if f"{OWNER}.weight" in found.tensors or f"{family.out}.weight" not in found.tensors:
            return AnswerSettings()
        act = family.activation_of(found.config)
        return AnswerSettings(owner=family.out, dense=family.dense, activation=act, norm=family.norm)

    def size(self, model: Structure) -> int:
        return 2

    def shapes(self, model: Structure) -> Shapes:
        return classifier_shapes(model, model.settings, [(model.settings.owner, self.size(model))])

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        last = [(model.settings.owner, self.size(model))]
        return classifier_layers(NAME, model, model.settings, last, reads="every")

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        return write_classifier(w, NAME, model.settings, x)

    def target(self, example: Example, encoding: Encoding, settings: AnswerSettings) -> NDArray[np.int64] | None:
        """(S,); see :func:`bertedge.heads.question_answering.right_answers.marked`."""
        answers = given_answers(example)
        return None if answers is None else marked(answers, encoding)

    def read(self, batch: Batch, outputs: Outputs, settings: AnswerSettings) -> Arrays:
        return {"logits": outputs.logits[NAME]} if NAME in outputs.logits else {}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: AnswerSettings) -> dict[str, Observed]:
        """An observation for each pair of question and context."""
        one, other = expected["logits"], got["logits"]
        groups = {NAME: fidelity(batch, one, other)}
        if NAME in batch.labels:
            groups[LABELLED] = accuracy(batch, one, other, batch.labels[NAME])
        return {name: Observed(values=values, rows=rows) for name, (values, rows) in groups.items() if len(rows)}

    def finish(self, group: str, values: Quantities) -> Quantities:
        """If the texts have questions without an answer, models may say so."""
        if group != LABELLED:
            return values
        suffix = "_or_none" if values["unanswerable"].any() else ""
        return {name: values[f"{name}{suffix}"] for name in HITS}

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if NAME not in among.logits or NAME not in alone.logits:
            return None
        length = int(batch.lengths[0])
        return largest_change(among.logits[NAME][row][:length].T, alone.logits[NAME][0][:length].T)

    def golden(self, settings: AnswerSettings | None, *, pooler: bool) -> Mapping[str, GoldenArray]:
        spec = ArraySpec(dtype="float32", shape=("B", "S", 2))
        return {PROBABILITIES: GoldenArray(spec=spec, kind="probabilities")}

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: AnswerSettings) -> Arrays:
        """Probabilities of every token to start and to end the answer, 0 at the padding."""
        if NAME not in outputs.logits:
            return {}
        real = batch.attention_mask[:, None] == 1
        logits = np.where(real, np.swapaxes(outputs.logits[NAME], 1, 2), -np.inf)
        return {PROBABILITIES: np.swapaxes(softmax(logits), 1, 2).astype(np.float32)}

    def same_answers(
        self, batch: Batch, got: Arrays, expected: Arrays, settings: AnswerSettings | None
    ) -> NDArray[np.bool_] | None:
        """Whether the most probable first and last tokens are the same."""
        if PROBABILITIES not in got:
            return None
        mine, theirs = got[PROBABILITIES].argmax(axis=1), expected[PROBABILITIES].argmax(axis=1)
        return np.asarray((mine == theirs).all(axis=1))

    def lost_lead(self, got: Arrays, expected: Arrays, settings: AnswerSettings | None) -> float:
        if PROBABILITIES not in got:
            return 0.0
        other = got[PROBABILITIES].argmax(axis=1) != expected[PROBABILITIES].argmax(axis=1)
        return largest_lead(np.swapaxes(expected[PROBABILITIES], 1, 2), other)

    def worst(self, tokenizer: Tokenizer, settings: AnswerSettings) -> Worst:
        return WorstAnswers(tokenizer)


def _lines(answers: Iterable[Answer]) -> Iterator[str]:
    for answer in answers:
        yield f"{answer.score:8.4f}  {answer.text or '(no answer)'}"


def _best_answers(model: Any, pairs: Sequence[Pair], **options: Any) -> Sequence[Answer]:
    """The best answer of each pair of question and context."""
    if not pairs:
        return []
    questions, contexts = zip(*pairs, strict=True)
    return model.answer(questions, contexts, **options)


QUESTION_ANSWERING = QuestionAnswering(
    words="question-answering",
    reads="every",
    reads_questions=True,
    outputs={"masked": "question_answering_logits", "all": ("start_logits", "end_logits")},
    settings_type=AnswerSettings,
    architecture="ForQuestionAnswering",
    part_names={DENSE.replace(".", r"\."): "answer head's dense layer", NAME: "answer head"},
    metrics=METRICS,
    goals=(
        GoalKind(
            option="min_span_agreement",
            metric=f"{NAME}.span_agreement",
            head=NAME,
            limits=SHARE,
            scale=0.01,
            help="Smallest share of questions with the same answer as float.",
        ),
        GoalKind(
            option="min_f1_between",
            metric=f"{NAME}.f1_between",
            head=NAME,
            limits=SHARE,
            scale=0.01,
            help="Smallest F1 of the answers' tokens and those of float's.",
        ),
        GoalKind(
            option="max_answer_f1_drop",
            metric=f"{NAME}.f1_drop",
            head=NAME,
            limits=SHARE,
            scale=0.005,
            help="Largest drop of the F1 of answers on labelled questions, against float.",
        ),
    ),
    budgets={
        f"{NAME}.span_agreement": {"max_drop": 0.02},
        f"{NAME}.f1_between": {"max_drop": 0.01},
        f"{NAME}.f1_drop": {"max_drop": 0.01},
    },
    smooth_loss=f"{NAME}.kl_mean",
    main_metric=f"{NAME}.span_agreement",
    trade_offs={f"{NAME}.span_agreement": "answer as in float", f"{NAME}.f1": "F1 of answers"},
    over_length={f"{NAME}.span_agreement": "answer as in float", f"{NAME}.f1_between": "F1 with float's answer"},
    columns={f"{NAME}.span_agreement": "answers", f"{NAME}.f1_between": "answer F1"},
    losses={f"{NAME}.span_agreement": differences_in_words("answers")},
    kept={f"{NAME}.f1": "F1 of answers"},
    answers="answers",
    pipeline_tag="question-answering",
    verb=Verb(
        name="answer",
        method="answer",
        help="Find the answer to a question in a context.",
        arguments=(),
        options=(
            Option(name="question", kind=str, default=REQUIRED, help="The question.", gives="text"),
            Option(name="context", kind=str, default=REQUIRED, help="The text that may hold the answer.", gives="pair"),
            Option(name="top", default=1, least=1, help="Answers to print, best first.", of_rows=False),
            Option(name="no_answer", kind=bool, default=False, help='Also consider that there is "no answer".'),
            Option(name="longest", default=LONGEST_ANSWER, least=1, help="Tokens of an answer at most."),
        ),
        example=("--question", "Where did she live?", "--context", "Ada Lovelace lived in London."),
        lines=_lines,
        to_json=lambda answers: [asdict(answer) for answer in answers],
        rows=RowAnswers(
            answers=_best_answers,
            second="always",
            names=("answer", "start", "end", "score"),
            types=(str, int, int, float),
            columns=lambda best: (best.text, best.start, best.end, best.score),
        ),
    ),
    lists=LISTS,
)
