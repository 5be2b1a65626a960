"""``token_classification``: a label for each token, such as the names in a text (Devlin et al. 2019, section 5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders import encoder_of, names
from bertedge.encoders.names import Shapes
from bertedge.encoding import Encoding
from bertedge.example import Example
from bertedge.heads.cases import Worst
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
from bertedge.heads.structure import Found, Structure
from bertedge.heads.token_classification.tag_answers import token_labels
from bertedge.heads.token_classification.tag_metrics import GOALS, LABELLED, LABELLED_SPANS, METRICS, NAME, SPANS
from bertedge.heads.token_classification.tag_quantities import (
    compared,
    hit_quantities,
    right_span_quantities,
    span_quantities,
    spans_of,
    token_quantities,
)
from bertedge.heads.token_classification.tag_settings import TagSettings, tag_settings
from bertedge.heads.token_classification.tagging import AGGREGATIONS, Entity
from bertedge.heads.token_classification.worst_tags import LISTS, WorstTags
from bertedge.heads.verb import Argument, Option, RowAnswers, Verb
from bertedge.layers import Layer
from bertedge.predictor import Batch, Outputs
from bertedge.printable import differences_in_words
from bertedge.probabilities import answers, largest_change, largest_lead, softmax
from bertedge.tokenizer import Tokenizer

DENSE = dense_name(NAME)


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenClassification(Head):
    """Logits (B, S, labels)."""

    name = NAME

    def is_in(self, found: Found) -> bool:
        if f"{encoder_of(found.config).token_classifier.out}.weight" not in found.tensors:
            return False
        told = found.is_for("ForTokenClassification")
        if told is not None:
            return told
        # without the name of a class: a classifier that reads neither a pooler nor a dense layer
        return f"{names.POOLER}.weight" not in found.tensors and not has_classifier(found)

    def read_settings(self, found: Found) -> TagSettings:
        return tag_settings(found)

    def about(self, settings: TagSettings) -> list[str]:
        return [f"for each token one of {listed(settings.labels)}"]

    def warnings(self, found: Found) -> tuple[str, ...]:
        return about_labels(found.raw, len(tag_settings(found).labels))

    def config_keys(self, settings: TagSettings) -> dict[str, Any]:
        return label_keys(settings.labels)

    def size(self, model: Structure) -> int:
        return len(model.settings.labels)

    def shapes(self, model: Structure) -> Shapes:
        return classifier_shapes(model, model.settings, [(model.settings.owner, self.size(model))])

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        last = [(model.settings.owner, self.size(model))]
        return classifier_layers(NAME, model, model.settings, last, reads="every")

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        return write_classifier(w, NAME, model.settings, x)

    def target(self, example: Example, encoding: Encoding, settings: TagSettings) -> NDArray[np.int64]:
        """(S,): see :func:`bertedge.heads.token_classification.tag_answers.token_labels`."""
        return token_labels(example, encoding, settings.tags)

    def read(self, batch: Batch, outputs: Outputs, settings: TagSettings) -> Arrays:
        return {"logits": outputs.logits[NAME]} if batch.hidden and NAME in outputs.logits else {}

    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: TagSettings) -> dict[str, Observed]:
        one, other, labels = expected["logits"], got["logits"], batch.labels.get(NAME)
        chosen = compared(batch, labels)
        ours, theirs = (spans_of(answers(logits), chosen, settings.tags) for logits in (one, other))
        every = np.arange(len(one))
        groups = {
            NAME: Observed(values=token_quantities(one[chosen], other[chosen]), rows=np.nonzero(chosen)[0]),
            SPANS: Observed(values=span_quantities(ours, theirs), rows=every),
        }
        if labels is None or not (labels >= 0).any():
            return groups
        known, right = labels >= 0, spans_of(labels, chosen, settings.tags)
        rows = every[known.any(axis=1)]
        hits = hit_quantities(one[known], other[known], labels[known])
        spans = right_span_quantities(*([found[row] for row in rows] for found in (ours, theirs, right)))
        return groups | {
            LABELLED: Observed(values=hits, rows=np.nonzero(known)[0]),
            LABELLED_SPANS: Observed(values=spans, rows=rows),
        }

    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        if not batch.hidden or NAME not in among.logits or NAME not in alone.logits:
            return None
        length = int(batch.lengths[0])
        return largest_change(among.logits[NAME][row, :length], alone.logits[NAME][0, :length])

    def golden(self, settings: Any, *, pooler: bool) -> Mapping[str, GoldenArray]:
        spec = ArraySpec(dtype="float32", shape=("B", "S", NAME))
        return {"token_probs": GoldenArray(spec=spec, kind="probabilities")}

    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: TagSettings) -> Arrays:
        if NAME not in outputs.logits:
            return {}
        return {"token_probs": softmax(outputs.logits[NAME]) * batch.attention_mask[..., None].astype(np.float32)}

    def lost_lead(self, got: Arrays, expected: Arrays, settings: Any) -> float:
        if "token_probs" not in got or expected["token_probs"].shape[-1] < 2:
            return 0.0
        other = got["token_probs"].argmax(axis=-1) != expected["token_probs"].argmax(axis=-1)
        return largest_lead(expected["token_probs"], other)

    def same_answers(self, batch: Batch, got: Arrays, expected: Arrays, settings: Any) -> NDArray[np.bool_] | None:
        if "token_probs" not in got:
            return None
        same = got["token_probs"].argmax(axis=-1) == expected["token_probs"].argmax(axis=-1)
        return same[batch.attention_mask == 1]

    def worst(self, tokenizer: Tokenizer, settings: TagSettings) -> Worst | None:
        return None if settings is None else WorstTags(tokenizer, settings.tags)


def _lines(found: Iterable[list[Entity]]) -> Iterator[str]:
    for index, entities in enumerate(found):
        if index:
            yield ""
        for entity in entities:
            yield f"{entity.score:8.4f}  {entity.label}  {entity.text}"


TOKEN_CLASSIFICATION = TokenClassification(
    words="token classification",
    reads="every",
    outputs={"masked": "token_classification_logits", "all": "logits"},
    settings_type=TagSettings,
    architecture="ForTokenClassification",
    part_names={DENSE.replace(".", r"\."): "tagger's dense layer", NAME: "tagger"},
    metrics=METRICS,
    goals=GOALS,
    budgets={
        f"{NAME}.token_agreement": {"max_drop": 0.005},
        f"{NAME}.span_f1": {"max_drop": 0.02},
        f"{NAME}.kl_mean": {"max_ratio": 1.25},
        f"{NAME}.f1_drop": {"max_drop": 0.01},
    },
    smooth_loss=f"{NAME}.kl_mean",
    main_metric=f"{NAME}.token_agreement",
    trade_offs={f"{NAME}.span_f1": "F1 of spans against float's", f"{NAME}.f1": "F1 of spans"},
    over_length={f"{NAME}.token_agreement": "tag as in float", f"{NAME}.kl_mean": "KL of tags from float, nats"},
    columns={f"{NAME}.token_agreement": "tags", f"{NAME}.span_f1": "spans"},
    losses={f"{NAME}.token_agreement": differences_in_words("tags")},
    kept={f"{NAME}.f1": "F1 of spans"},
    pipeline_tag="token-classification",
    verb=Verb(
        name="tag",
        method="tag",
        help="Print the entities of texts: score, label and words.",
        arguments=(Argument(name="texts", help="Texts.", many=True),),
        options=(
            Option(
                name="aggregation", kind=str, default=None, help=f"How tokens are joined: {', '.join(AGGREGATIONS)}."
            ),
            Option(
                name="stride",
                default=None,
                least=0,
                most=lambda model: model.tokenizer.max_length // 2,
                help="Read long texts whole; windows share so many tokens.",
            ),
        ),
        example=("Ada Lovelace lived in London.",),
        lines=_lines,
        to_json=lambda found: [[asdict(entity) for entity in entities] for entities in found],
        rows=RowAnswers(
            answers=lambda model, texts, **options: model.tag(texts, **options),
            names=("entities",),
            types=(list[Entity],),
            columns=lambda entities: ([asdict(entity) for entity in entities],),
        ),
    ),
    answers="tags",
    lists=LISTS,
)
