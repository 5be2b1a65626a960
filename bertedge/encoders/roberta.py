"""RoBERTa (Liu et al. 2019): positions start behind the padding's id. Its tensor names serve other families too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bertedge.encoders.bert import BASE as BERT_BASE
from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.variants import refuse_variants

#: Defaults of ``transformers``; published models give every key.
BASE: dict[str, Any] = {**BERT_BASE, "vocab_size": 50265, "pad_token_id": 1}
NAMES = ForeignNames(
    prefix="roberta.",
    patterns=(
        (r"^lm_head\.dense\.", "cls.predictions.transform.dense."),
        (r"^lm_head\.layer_norm\.", "cls.predictions.transform.LayerNorm."),
        (r"^lm_head\.(decoder\.)?bias$", "cls.predictions.bias"),
        (r"^lm_head\.decoder\.weight$", "cls.predictions.decoder.weight"),
    ),
    preferred=re.compile(r"(^|\.)lm_head\.decoder\.bias$"),
)
CLASSIFIER = ClassifierStructure(reads="first", dense="classifier.dense", activation="tanh", out="classifier.out_proj")


def first_position(fields: Mapping[str, Any]) -> int:
    """The row of the position table for the first token: the one after the padding's."""
    pad = fields["pad_token_id"]
    return pad + 1 if isinstance(pad, int) else 0  # the configuration refuses other types


ROBERTA = Encoder(
    model_type="roberta",
    title="RoBERTa",
    class_prefix="Roberta",
    architecture="RobertaForMaskedLM",
    names=NAMES,
    defaults={**BASE, "decoder_act": "gelu"},
    keys={name: name for name in BASE},
    segments=1,
    refuse=refuse_variants("RoBERTa"),
    derived={"position_offset": first_position},
    tokenizer_class="RobertaTokenizer",
    classifier=CLASSIFIER,
)
