"""``nsp``: the next-sentence head judges whether one text follows another (Devlin et al. 2019, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders import names
from bertedge.encoders.names import Shapes
from bertedge.errors import UsageError
from bertedge.heads.cases import Answer, Case, Worst, WorstList, passage, texts_of
from bertedge.heads.head import Arrays, GoldenArray, Head, Observed
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.structure import Structure
from bertedge.heads.text_model import TextModel, row_of
from bertedge.heads.verb import Argument, RowAnswers, Verb
from bertedge.layers import Layer, Role
from bertedge.metric import PROBABILITY_FLOOR, SHARE, GoalKind, Metric, difference, mean
from bertedge.predictor import NO_LABEL, Batch, Outputs
from bertedge.printable import rounded_percent
from bertedge.probabilities import answers, largest_change, log_softmax, softmax
from bertedge.texts import Pair, pairs_of
from bertedge.tokenizer import Tokenizer

CLASSIFIER = "cls.seq_relationship"
#: The list of worst disagreements, and how many pairs it has.
PAIRS, KEEP_PAIRS = "nsp.pairs", 3

METRICS = {
    "nsp.flip_rate": Metric(
        group="nsp",
        estimate=mean("flip"),
        better="lower",
        meaning="share of the pairs judged differently from float",
        bounds=(0, 1),
    ),
    "nsp.prob_mae": Metric(
        group="nsp",
        estimate=mean("prob_diff"),
        better="lower",
        meaning="mean difference of P(is next) from float",
        floor=PROBABILITY_FLOOR,
    ),
    "nsp.accuracy": Metric(
        group="nsp", estimate=mean("hit"), better="higher", meaning="share of the pairs judged correctly", bounds=(0, 1)
    ),
    "nsp.accuracy_drop": Metric(
        group="nsp",
        estimate=difference("reference_hit", "hit"),
        better="lower",
        meaning="nsp.accuracy of float minus the candidate's",
        bounds=(-1, 1),
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class NextSentence(Head):
    """Logits (B, 2) of a pair of segments: class 0 = the second follows the first, 1 = it does not."""

    name = "nsp"

    def size(self, model: Structure) -> int:
        return 2

    def shapes(self, model: Structure) -> Shapes:
        return names.linear_shapes(CLASSIFIER, 2, model.config.hidden_size)

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        width = model.config.hidden_size
        return (Layer(name="nsp", role=Role.CLASSIFIER, owners=(CLASSIFIER,), inputs=width, outputs=2, reads="first"),)

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        return w.linear("nsp", x)

    def text_label(self, hidden: NDArray[np.int64], follows: int | None) -> NDArray[np.int64]:
        return np.array(NO_LABEL if follows is None else follows, dtype=np.int64)

    def read(self, batch: Batch, outputs: Outputs, settings: Any) -> Arrays:
        if "nsp" not in outputs.logits or "nsp" not in batch.labels:
            return {}
        labelled = batch.labels["nsp"] != NO_LABEL  # not every pair has a label: see bertedge.data.pairs
        return {"logits": outputs.logits["nsp"][labelled]} if labelled.any() else {}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        labelled = batch.labels["nsp"] != NO_LABEL
        one, other, labels = expected["logits"], got["logits"], batch.labels["nsp"][labelled]
        first, answer = one.argmax(axis=1), answers(other)
        values = {
            "flip": first != answer,
            "prob_diff": np.abs(np.exp(log_softmax(one)[:, 0]) - np.exp(log_softmax(other)[:, 0])),
            "reference_hit": first == labels,
            "hit": answer == labels,
        }
        return {"nsp": Observed(values=values, rows=np.flatnonzero(labelled))}

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if "nsp" not in among.logits or "nsp" not in alone.logits:
            return None
        return largest_change(among.logits["nsp"][row], alone.logits["nsp"][0])

    def golden(self, settings: Any, *, pooler: bool) -> Mapping[str, GoldenArray]:
        return {"nsp_probs": GoldenArray(spec=ArraySpec(dtype="float32", shape=("B", 2)), kind="probabilities")}

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: Any) -> Arrays:
        return {"nsp_probs": softmax(outputs.logits["nsp"])} if "nsp" in outputs.logits else {}

    def same_answers(self, batch: Batch, got: Arrays, expected: Arrays, settings: Any) -> NDArray[np.bool_] | None:
        if "nsp_probs" not in got:
            return None
        return got["nsp_probs"].argmax(axis=1) == expected["nsp_probs"].argmax(axis=1)

    def worst(self, tokenizer: Tokenizer, settings: Any) -> Worst:
        return WorstPairs(tokenizer)


class NextSentenceMethod(TextModel):
    """The method of the next-sentence head."""

    @overload
    def next_sentence(self, first: str, second: str) -> float: ...
    @overload
    def next_sentence(self, first: Iterable[Pair]) -> list[float]: ...
    def next_sentence(self, first: str | Iterable[Pair], second: str | None = None) -> float | list[float]:
        """The probability that the second text follows the first, for one pair or for several.

        Args:
            first: a text; or pairs of texts: a list, an array of two columns, ``zip(a, b)``, a generator.
            second: the text that may follow, where ``first`` is a text.

        Raises:
            UsageError: an item is not a pair of texts; the message gives its index.

        Warns:
            TruncationWarning: pairs were too long.
            UnknownTextWarning: a text of a pair has no known word.
        """
        self._require("nsp")
        if isinstance(first, str):
            if second is None:
                raise UsageError("next_sentence: the second sentence is missing", "give two texts, or a list of pairs")
            return self.next_sentence([(first, second)])[0]
        expected = "next_sentence: expected two texts, or a list of pairs"
        if second is not None:
            raise UsageError(expected, 'for instance [("One.", "Two.")]; of two lists make pairs with zip')
        rows = [row_of(encoding) for encoding in self.tokenizer.encode_many(pairs_of(first, expected))]
        return self.runner.run(rows, lambda result: float(softmax(result["nsp"])[0]))


class WorstPairs:
    """The pairs whose probabilities differ most."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pairs = WorstList(above=PROBABILITY_FLOOR, count=KEEP_PAIRS)

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        rows = np.flatnonzero(batch.labels["nsp"] != NO_LABEL)
        p, q = (np.exp(log_softmax(arrays["logits"])[:, 0]) for arrays in (expected, got))

        def pair(index: int) -> Case:
            first, second = texts_of(self._tokenizer, batch, int(rows[index]))
            is_next = batch.labels["nsp"][rows[index]] == 0
            differ = " The two models disagree." if (p[index] > 0.5) != (q[index] > 0.5) else ""
            return Case(
                texts=(passage(first, "First", from_end=True), passage(second, "Second")),
                note=f"The second {'follows the first' if is_next else 'is from another place in the text'}.{differ}",
                reference=(Answer(text="P(is next)", share=float(p[index])),),
                candidate=(Answer(text="P(is next)", share=float(q[index])),),
            )

        self._pairs.add(np.abs(p - q), pair)

    def found(self) -> dict[str, tuple[Case, ...]]:
        return {PAIRS: self._pairs.cases()}


def _lines(probability: float) -> Iterator[str]:
    verdict, share = ("follows", probability) if probability >= 0.5 else ("does not follow", 1 - probability)
    yield f"{share:8.4f}  {verdict}"


NSP = NextSentence(
    words="next-sentence",
    task="next sentences",
    reads="pair",
    outputs={"masked": "nsp_logits", "all": "nsp_logits"},
    needs_pooler=True,
    mark=f"{CLASSIFIER}.weight",
    architecture="ForNextSentencePrediction",
    part_names={"nsp": "next-sentence head"},
    metrics=METRICS,
    labels=ArraySpec(dtype="int64", shape=("B",), least=NO_LABEL, below=2),  # 0 is next, 1 random
    goals=(
        GoalKind(
            option="max_nsp_drop",
            metric="nsp.accuracy_drop",
            head="nsp",
            limits=SHARE,
            scale=0.005,
            help="Largest drop of the accuracy on next sentences, against float.",
        ),
        GoalKind(
            option="max_nsp_flips",
            metric="nsp.flip_rate",
            head="nsp",
            limits=SHARE,
            scale=0.005,
            help="Largest share of sentence pairs that float judges differently.",
        ),
    ),
    budgets={"nsp.flip_rate": {"max_drop": 0.02}},  # the built-in text has 181 pairs, too few to judge a smaller drop
    smooth_loss="nsp.prob_mae",
    main_metric="nsp.flip_rate",
    trade_offs={"nsp.accuracy": "sentence pairs judged correctly"},
    over_length={"nsp.flip_rate": "pairs judged differently"},
    columns={"nsp.flip_rate": "NSP flips"},
    losses={"nsp.flip_rate": lambda value: f"{rounded_percent(value)} of the sentence pairs are judged differently"},
    verb=Verb(
        name="next-sentence",
        method="next_sentence",
        help="Judge whether the second sentence follows the first.",
        arguments=(
            Argument(name="first", help="The first sentence."),
            Argument(name="second", help="The second sentence, which may follow the first."),
        ),
        example=("He opened the door.", "It was dark inside."),
        lines=_lines,
        to_json=lambda probability: {"is_next": probability},
        rows=RowAnswers(
            answers=lambda model, pairs: model.next_sentence(pairs),
            second="always",
            names=("is_next",),
            types=(float,),
            columns=lambda probability: (probability,),
        ),
    ),
    answers="decisions on pairs",
    lists={PAIRS: "Sentence pairs"},
)
