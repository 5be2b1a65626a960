"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa's structure and tensor names, with a vocabulary of SentencePiece."""

from __future__ import annotations

from bertedge.encoders.bert import BASE as BERT_BASE
from bertedge.encoders.encoder import Encoder
from bertedge.encoders.roberta import CLASSIFIER, NAMES, first_position
from bertedge.encoders.variants import refuse_variants

XLM_ROBERTA = Encoder(
    model_type="xlm-roberta",
    title="XLM-RoBERTa",
    class_prefix="XLMRoberta",
    architecture="XLMRobertaForMaskedLM",
    names=NAMES,
    defaults={**BERT_BASE, "pad_token_id": 1, "decoder_act": "gelu"},
    keys={name: name for name in BERT_BASE},
    segments=1,
    refuse=refuse_variants("XLM-RoBERTa"),
    derived={"position_offset": first_position},
    tokenizer_class="XLMRobertaTokenizer",
    classifier=CLASSIFIER,
)
