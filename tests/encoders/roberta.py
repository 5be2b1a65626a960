"""RoBERTa (Liu et al. 2019) as one more family: positions start behind the padding's id, and there is one segment."""

from __future__ import annotations

from bertedge.encoders.bert import BASE
from bertedge.encoders.encoder import Encoder
from bertedge.encoders.foreign_names import ForeignNames

ROBERTA = Encoder(
    model_type="roberta",
    title="RoBERTa",
    class_prefix="Roberta",
    architecture="RobertaForMaskedLM",
    names=ForeignNames(
        prefix="roberta.",
        patterns=(
            (r"^lm_head\.dense\.", "cls.predictions.transform.dense."),
            (r"^lm_head\.layer_norm\.", "cls.predictions.transform.LayerNorm."),
            (r"^lm_head\.(decoder\.)?bias$", "cls.predictions.bias"),
            (r"^lm_head\.decoder\.weight$", "cls.predictions.decoder.weight"),
        ),
    ),
    defaults={**BASE, "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1},
    keys={name: name for name in BASE},
    segments=1,
    position_offset=lambda fields: fields["pad_token_id"] + 1,
)
