"""ELECTRA (Clark et al. 2020): BERT with narrower embeddings. Discriminators are encoders, generators fill in masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bertedge.encoders.bert import BASE as BERT_BASE
from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.variants import refuse_variants

#: Sizes of ELECTRA-small, which are the defaults of ``transformers``.
BASE: dict[str, Any] = {
    **BERT_BASE,
    "embedding_size": 128,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}


def projects(fields: Mapping[str, Any]) -> bool:
    """ELECTRA projects embeddings only if their width is not the hidden size."""
    return bool(fields["embedding_size"] != fields["hidden_size"])


ELECTRA = Encoder(
    model_type="electra",
    title="ELECTRA",
    class_prefix="Electra",
    architecture="ElectraForMaskedLM",
    names=ForeignNames(
        prefix="electra.",
        patterns=(
            (r"^(electra\.)?embeddings_project\.", "embeddings.projection."),
            (r"^generator_predictions\.dense\.", "cls.predictions.transform.dense."),
            (r"^generator_predictions\.LayerNorm\.", "cls.predictions.transform.LayerNorm."),
            (r"^(generator_lm_head|generator_predictions)\.bias$", "cls.predictions.bias"),
            (r"^generator_lm_head\.weight$", "cls.predictions.decoder.weight"),
        ),
        preferred=re.compile(r"(^|\.)generator_lm_head\.bias$"),
    ),
    defaults={**BASE, "decoder_act": "gelu"},
    keys={name: name for name in BASE},
    segments=2,
    refuse=refuse_variants("ELECTRA"),
    derived={"embedding_projection": projects},
    classifier=ClassifierStructure(
        reads="first", dense="classifier.dense", activation="gelu", out="classifier.out_proj"
    ),
)
