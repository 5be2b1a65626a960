"""ALBERT (Lan et al. 2020): narrow embeddings, and blocks that share their weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bertedge.encoders.bert import BASE as BERT_BASE
from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.variants import refuse_variants
from bertedge.errors import CheckpointError

#: Sizes of ALBERT-xxlarge, which are the defaults of ``transformers``.
BASE: dict[str, Any] = {
    **BERT_BASE,
    "vocab_size": 30000,
    "embedding_size": 128,
    "hidden_size": 4096,
    "num_attention_heads": 64,
    "intermediate_size": 16384,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
LAYER = r"^(albert\.)?encoder\.albert_layer_groups\.(\d+)\.albert_layers\.0\."


def refuse(raw: Mapping[str, Any]) -> None:
    """Refuse variants, and groups of several blocks, which no published ALBERT has."""
    refuse_variants("ALBERT")(raw)
    inner = raw.get("inner_group_num", 1)
    if inner != 1:
        raise CheckpointError(
            f"config: inner_group_num is {str(inner)[:20]}, expected 1", "groups of several blocks are not supported"
        )


ALBERT = Encoder(
    model_type="albert",
    title="ALBERT",
    class_prefix="Albert",
    architecture="AlbertForMaskedLM",
    names=ForeignNames(
        prefix="albert.",
        patterns=(
            (r"^(albert\.)?encoder\.embedding_hidden_mapping_in\.", "embeddings.projection."),
            (LAYER + r"attention\.(query|key|value)\.", r"encoder.layer.\2.attention.self.\3."),
            (LAYER + r"attention\.(dense|LayerNorm)\.", r"encoder.layer.\2.attention.output.\3."),
            (LAYER + r"ffn\.", r"encoder.layer.\2.intermediate.dense."),
            (LAYER + r"ffn_output\.", r"encoder.layer.\2.output.dense."),
            (LAYER + r"full_layer_layer_norm\.", r"encoder.layer.\2.output.LayerNorm."),
            (r"^pooler\.(weight|bias)$", r"pooler.dense.\1"),
            (r"^predictions\.dense\.", "cls.predictions.transform.dense."),
            (r"^predictions\.LayerNorm\.", "cls.predictions.transform.LayerNorm."),
            (r"^predictions\.(decoder\.)?bias$", "cls.predictions.bias"),
            (r"^predictions\.decoder\.weight$", "cls.predictions.decoder.weight"),
        ),
        preferred=re.compile(r"(^|\.)predictions\.decoder\.bias$"),
    ),
    defaults={**BASE, "layer_groups": 1},
    keys={**{name: name for name in BASE}, "layer_groups": "num_hidden_groups"},
    segments=2,
    refuse=refuse,
    derived={"embedding_projection": lambda fields: True},
    tokenizer_class="AlbertTokenizer",
    classifier=ClassifierStructure(reads="pooler"),
)
