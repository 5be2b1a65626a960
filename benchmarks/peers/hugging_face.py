"""transformers' BERT with only the work that is compared: heads at masked positions, or states."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertForPreTraining

from peers.protocol import Work


class Words(nn.Module):
    """Ids and masked positions (B, K) -> MLM logits (B, K, V), NSP logits (B, 2)."""

    def __init__(self, model: BertForPreTraining) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, masked_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        states, pooled = self.model.bert(input_ids, attention_mask, token_type_ids, return_dict=False)
        where = masked_positions[:, :, None].expand(-1, -1, states.shape[-1])
        return self.model.cls(states.gather(1, where), pooled)


class States(nn.Module):
    """Ids -> the last layer's states (B, S, H)."""

    def __init__(self, model: BertForPreTraining) -> None:
        super().__init__()
        self.bert = model.bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.bert(input_ids, attention_mask, token_type_ids, return_dict=False)[0]


class Labels(nn.Module):
    """Ids -> logits of the labels (B, C)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **ids: Tensor) -> Tensor:
        return self.model(**ids, return_dict=False)[0]


def torch_model(checkpoint: Path, work: Work) -> Words | States | Labels:
    """The checkpoint in float32, ready for inference."""
    if work == "labels":
        classifier = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
        return Labels(classifier.eval().requires_grad_(False)).eval()
    model = BertForPreTraining.from_pretrained(checkpoint, dtype=torch.float32).eval().requires_grad_(False)
    return {"words": Words, "vectors": States}[work](model).eval()
