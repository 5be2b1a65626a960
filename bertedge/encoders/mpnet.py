"""MPNet (Song et al. 2020): absolute and relative positions, and no token types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertedge.encoders.bert import BASE
from bertedge.encoders.encoder import Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.roberta import CLASSIFIER
from bertedge.encoders.roberta import NAMES as ROBERTA_NAMES
from bertedge.encoders.variants import refuse_variants
from bertedge.errors import CheckpointError

#: ``transformers`` computes 32 buckets of relative positions, whatever ``config.json`` says.
BUCKETS = 32
#: The id that positions are counted from, which is a constant in ``transformers`` too; the first row after it is used.
PADDING = 1


def refuse(raw: Mapping[str, Any]) -> None:
    """Refuse variants, and a number of buckets that ``transformers`` would not use."""
    refuse_variants("MPNet")(raw)
    buckets = raw.get("relative_attention_num_buckets", BUCKETS)
    if buckets != BUCKETS:
        raise CheckpointError(
            f"config: relative_attention_num_buckets is {str(buckets)[:20]}, expected {BUCKETS}", "correct config.json"
        )


MPNET = Encoder(
    model_type="mpnet",
    title="MPNet",
    class_prefix="MPNet",
    architecture="MPNetForMaskedLM",
    names=ForeignNames(
        prefix="mpnet.",
        patterns=(
            (r"\.attention\.attn\.q\.", ".attention.self.query."),
            (r"\.attention\.attn\.k\.", ".attention.self.key."),
            (r"\.attention\.attn\.v\.", ".attention.self.value."),
            (r"\.attention\.attn\.o\.", ".attention.output.dense."),
            (r"\.attention\.LayerNorm\.", ".attention.output.LayerNorm."),
            *ROBERTA_NAMES.patterns,
        ),
        preferred=ROBERTA_NAMES.preferred,
    ),
    defaults={
        **BASE,
        "vocab_size": 30527,
        "type_vocab_size": 0,
        "pad_token_id": PADDING,
        "relative_buckets": BUCKETS,
        "decoder_act": "gelu",
        "position_offset": PADDING + 1,
    },
    keys={name: name for name in BASE if name != "type_vocab_size"}
    | {"relative_buckets": "relative_attention_num_buckets"},
    refuse=refuse,
    tokenizer_class="MPNetTokenizer",
    classifier=CLASSIFIER,
)
