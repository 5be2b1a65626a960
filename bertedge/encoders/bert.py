"""BERT (Devlin et al. 2019), as Hugging Face's ``transformers`` and Google's TensorFlow code write it."""

from __future__ import annotations

import re
from typing import Any

from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.names import DECODER_BIAS, NSP
from bertedge.encoders.variants import refuse_variants

#: Sizes of BERT-base. The keys of ``config.json`` have the same names.
BASE: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
PATTERNS: tuple[tuple[str, str], ...] = (
    (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"),  # 2018's names
    (r"\.LayerNorm\.beta$", ".LayerNorm.bias"),
    (r"^cls\.predictions\.decoder\.bias$", DECODER_BIAS),
    (r"^(encoder\.layer\.\d+\.attention)\.(query|key|value)\.", r"\1.self.\2."),
)
#: Google's original TensorFlow checkpoints.
TENSORFLOW: tuple[tuple[str, str, bool], ...] = (
    (r"^bert/embeddings/(word|position|token_type)_embeddings$", r"bert.embeddings.\1_embeddings.weight", False),
    (r"^(.*)/LayerNorm/gamma$", r"\1.LayerNorm.weight", False),
    (r"^(.*)/LayerNorm/beta$", r"\1.LayerNorm.bias", False),
    (r"^(bert/.*|cls/predictions/transform/dense)/kernel$", r"\1.weight", True),
    (r"^(bert/.*|cls/predictions/transform/dense)/bias$", r"\1.bias", False),
    (r"^cls/predictions/output_bias$", DECODER_BIAS, False),
    (r"^cls/seq_relationship/output_weights$", f"{NSP}.weight", False),
    (r"^cls/seq_relationship/output_bias$", f"{NSP}.bias", False),
)
BERT = Encoder(
    model_type="bert",
    title="BERT",
    class_prefix="Bert",
    architecture="BertForPreTraining",
    names=ForeignNames(
        prefix="bert.",
        patterns=PATTERNS,
        # an untied decoder has its own bias
        preferred=re.compile(r"(^|\.)cls\.predictions\.decoder\.bias$"),
        tensorflow=TENSORFLOW,
    ),
    defaults=BASE,
    keys={name: name for name in BASE},
    segments=2,
    trainable=True,
    refuse=refuse_variants("BERT"),
    classifier=ClassifierStructure(reads="pooler"),
)
