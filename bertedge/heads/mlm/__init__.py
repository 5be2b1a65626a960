"""``mlm``: the masked-language-model head fills in ``[MASK]`` (Devlin et al. 2019, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders import encoder_of, names
from bertedge.encoders.names import Shapes
from bertedge.heads.cases import Worst
from bertedge.heads.head import GOLDEN_TOP, Arrays, GoldenArray, Head, Observed, Quantities
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.mlm.fill_mask import Fill, lines
from bertedge.heads.mlm.word_quantities import keep_words, quantities_of_kept, word_quantities
from bertedge.heads.mlm.worst_words import LISTS, WorstWords
from bertedge.heads.structure import Found, Structure
from bertedge.heads.verb import Argument, Option, RowAnswers, Verb
from bertedge.layers import Layer, Role, word_table
from bertedge.metric import ANY, SHARE, GoalKind, Metric, difference, exponential, mean, quantile
from bertedge.predictor import NO_LABEL, Batch, Outputs
from bertedge.printable import differences_in_words
from bertedge.probabilities import largest_change, largest_lead, softmax, top_indices
from bertedge.tokenizer import Tokenizer

#: In nats; float32 sums in another order differ by as much.
KL_FLOOR = 1e-5
TRANSFORM = f"{names.MLM_TRANSFORM}.dense"

METRICS = {
    "mlm.top1_agreement": Metric(
        group="mlm",
        estimate=mean("top1_equal"),
        better="higher",
        meaning="share of masked positions with float's best word",
        bounds=(0, 1),
    ),
    "mlm.top5_agreement": Metric(
        group="mlm",
        estimate=mean("top5_overlap"),
        better="higher",
        meaning="share of float's five best words among the five best",
        bounds=(0, 1),
    ),
    "mlm.kl_mean": Metric(
        group="mlm",
        estimate=mean("kl"),
        better="lower",
        meaning="KL(float || candidate) in nats, mean",
        floor=KL_FLOOR,
    ),
    "mlm.kl_p99": Metric(
        group="mlm",
        estimate=quantile("kl", 0.99),
        better="lower",
        meaning="KL(float || candidate), 99th percentile",
        floor=KL_FLOOR,
    ),
    "mlm.top1_accuracy": Metric(
        group="mlm",
        estimate=mean("hit"),
        better="higher",
        meaning="share of the masked words that are predicted correctly",
        bounds=(0, 1),
    ),
    "mlm.top1_accuracy_drop": Metric(
        group="mlm",
        estimate=difference("reference_hit", "hit"),
        better="lower",
        meaning="top1_accuracy of float minus the candidate's",
        bounds=(-1, 1),
    ),
    "mlm.pseudo_perplexity_ratio": Metric(
        group="mlm",
        estimate=exponential(difference("nll", "reference_nll")),
        better="lower",
        meaning="pseudo-perplexity of the candidate over float's",
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedWords(Head):
    """Logits (B, K, V) of the tokens of the vocabulary at K masked positions."""

    name = "mlm"

    def is_in(self, found: Found) -> bool:
        if self.mark not in found.tensors or encoder_of(found.config).classifier.dense != TRANSFORM:
            return self.mark in found.tensors
        told = found.is_for("ForMaskedLM")  # a classifier of this family has the same layers in front
        return bool(found.tensors.keys() & {names.DECODER, names.DECODER_BIAS}) if told is None else told

    def size(self, model: Structure) -> int:
        return model.config.vocab_size

    def shapes(self, model: Structure) -> Shapes:
        """The tensors of the head. A tied decoder has no matrix, since it shares the table of the words."""
        config = model.config
        hidden, width, vocabulary = config.hidden_size, config.embedding_width, config.vocab_size
        return {
            **names.linear_shapes(TRANSFORM, width, hidden, bias=config.head_bias),
            **names.norm_shapes(names.MLM_TRANSFORM, width, bias=config.norm_bias),
            names.DECODER_BIAS: (vocabulary,),
        } | ({} if model.tied else {names.DECODER: (vocabulary, width)})

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        width = model.config.embedding_width
        return (
            Layer(
                name="mlm.transform",
                role=Role.HEAD_TRANSFORM,
                owners=(TRANSFORM,),
                inputs=model.config.hidden_size,
                outputs=width,
                reads="masked",
            ),
            Layer(
                name="mlm.decoder",
                role=Role.DECODER,
                owners=(names.DECODER.removesuffix(".weight"),),
                inputs=width,
                outputs=model.config.vocab_size,
                reads="masked",
                tied_to=word_table(model.config).name if model.tied else None,
            ),
        )

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        inner = w.activation("mlm.transform.activation", w.linear("mlm.transform", x), w.decoder_activation)
        inner = w.layer_norm("mlm.transform.norm", names.MLM_TRANSFORM, inner, w.decoder_divisors)
        return w.decode("mlm.decoder", inner, names.DECODER_BIAS)

    def text_label(self, hidden: NDArray[np.int64], follows: int | None) -> NDArray[np.int64]:
        return hidden

    def read(self, batch: Batch, outputs: Outputs, settings: Any) -> Arrays:
        if "mlm" not in outputs.logits or "mlm" not in batch.labels:
            return {}
        return {"logits": outputs.logits["mlm"][batch.filled]}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        labels = batch.labels["mlm"][batch.filled]
        return _observed(batch, word_quantities(expected["logits"], got["logits"], labels))

    def keep(self, batch: Batch, expected: Arrays) -> Arrays:
        """Probabilities (M, V) at masked positions, and the numbers (M,) that follow from them."""
        if not expected:
            return {}
        return keep_words(expected["logits"], batch.labels["mlm"][batch.filled])

    def compare_kept(self, batch: Batch, kept: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        """All quantities but the overlap of the five best words."""
        labels = batch.labels["mlm"][batch.filled]
        return _observed(batch, quantities_of_kept(kept, got["logits"], labels))

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if "mlm" not in among.logits or "mlm" not in alone.logits:
            return None
        filled = batch.filled[0]
        here, there = among.logits["mlm"][row][: len(filled)][filled], alone.logits["mlm"][0][filled]
        return largest_change(here, there)

    def golden(self, settings: Any, *, pooler: bool) -> Mapping[str, GoldenArray]:
        ids = ArraySpec(dtype="int64", shape=("B", "K", "TOP"), below="V")
        best = ArraySpec(dtype="int64", shape=("B", "K"), below="V")
        return {
            "top_ids": GoldenArray(spec=ids, kind="given ids"),
            "top_probs": GoldenArray(spec=ArraySpec(dtype="float32", shape=("B", "K", "TOP")), kind="probabilities"),
            "best_ids": GoldenArray(spec=best, kind="ids"),
        }

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: Any) -> Arrays:
        """Probabilities of the words in ``given``, or of this model's own best words if there are none."""
        if "mlm" not in outputs.logits:
            return {}
        probabilities, filled = softmax(outputs.logits["mlm"]), batch.filled[..., None]
        top_ids = given["top_ids"] if "top_ids" in given else top_indices(probabilities, GOLDEN_TOP)
        top_probs = np.where(filled, np.take_along_axis(probabilities, top_ids, axis=-1), 0)
        return {
            "top_ids": np.where(filled, top_ids, 0),
            "top_probs": top_probs.astype(np.float32),
            "best_ids": np.where(filled[..., 0], probabilities.argmax(axis=-1), 0),
        }

    def same_answers(self, batch: Batch, got: Arrays, expected: Arrays, settings: Any) -> NDArray[np.bool_] | None:
        return (got["best_ids"] == expected["best_ids"])[batch.filled] if "best_ids" in got else None

    def lost_lead(self, got: Arrays, expected: Arrays, settings: Any) -> float:
        if "best_ids" not in got:
            return 0.0
        return largest_lead(expected["top_probs"], got["best_ids"] != expected["best_ids"])

    def worst(self, tokenizer: Tokenizer, settings: Any) -> Worst:
        return WorstWords(tokenizer)


MLM = MaskedWords(
    words="masked-word",
    task="masked words",
    reads="masked",
    outputs={"masked": "mlm_logits", "all": "logits"},
    mark=f"{TRANSFORM}.weight",
    architecture="ForMaskedLM",
    part_names={r"mlm\.transform": "MLM transform", r"mlm\.decoder": "MLM decoder", r"mlm": "MLM head"},
    metrics=METRICS,
    labels=ArraySpec(dtype="int64", shape=("B", "K"), least=NO_LABEL, below="V"),  # the tokens under the masks
    goals=(
        GoalKind(
            option="max_mlm_drop",
            metric="mlm.top1_accuracy_drop",
            head="mlm",
            limits=SHARE,
            scale=0.005,
            help="Largest drop of the accuracy on masked words, against float.",
        ),
        GoalKind(
            option="max_kl",
            metric="mlm.kl_mean",
            head="mlm",
            limits=ANY,
            scale=0.002,
            help="Largest mean KL divergence from float's probabilities, in nats.",
        ),
        GoalKind(
            option="min_agreement",
            metric="mlm.top1_agreement",
            head="mlm",
            limits=SHARE,
            scale=0.01,
            help="Smallest share of masked words with the same best word as float.",
        ),
    ),
    budgets={
        "mlm.top1_agreement": {"max_drop": 0.01},
        "mlm.kl_mean": {"max_ratio": 1.25},
        "mlm.top1_accuracy_drop": {"max_drop": 0.01},
    },
    smooth_loss="mlm.kl_mean",
    main_metric="mlm.top1_agreement",
    trade_offs={"mlm.top1_agreement": "best word as in float", "mlm.top1_accuracy": "masked words found"},
    over_length={"mlm.top1_agreement": "best word as in float", "mlm.kl_mean": "KL from float, nats"},
    columns={"mlm.top1_agreement": "agreement", "mlm.kl_mean": "KL"},
    losses={"mlm.top1_agreement": differences_in_words("best words")},
    pipeline_tag="fill-mask",
    verb=Verb(
        name="fill-mask",
        method="fill_mask",
        help="Fill in the [MASK]s of a text.",
        arguments=(
            Argument(name="text", parameter="texts", help="A text with [MASK] in place of each word to fill in."),
        ),
        options=(Option(name="top_k", default=5, least=1, most=lambda model: 100, help="Proposals for each [MASK]."),),
        example=("She drank a cup of [MASK] in the kitchen.",),
        lines=lines,
        rows=RowAnswers(
            answers=lambda model, texts, **options: model.fill_mask(texts, **options),
            names=("fills",),
            types=(list[list[Fill]],),
            columns=lambda fills: ([[asdict(fill) for fill in proposals] for proposals in fills],),
        ),
    ),
    answers="best words",
    lists=LISTS,
)


def _observed(batch: Batch, values: Quantities) -> dict[str, Observed]:
    rows = np.repeat(np.arange(len(batch.input_ids)), batch.filled.sum(axis=1))
    return {"mlm": Observed(values=values, rows=rows)}
